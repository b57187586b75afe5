"""Settings of a command against the text."""

import pytest

from optimizer.audit import audit_document

COMMAND = "\n\n## Launch\n\n```\nvllm serve meta-llama/Llama-3.3-70B-Instruct --max-model-len 49152\n```\n"


def told(text: str) -> list[str]:
    found = audit_document("# Llama-3.3-70B service\n\n" + text + COMMAND, "x.md").to_json()["contradictions"]
    return [one["name"] for one in found]


@pytest.mark.parametrize(
    "text",
    [
        "Users are guaranteed a context of 65,536 tokens.",
        "We promise every team a window of up to 98,304 tokens.",
        "Prompt and output are limited to 24,576 tokens.",
        "By product decision the context is capped at 16,384 tokens; longer chats are summarised.",
    ],
)
def test_a_context_that_the_command_does_not_set_is_told(text: str) -> None:
    assert told(text) == ["max_model_len"]


@pytest.mark.parametrize(
    "text",
    [
        "Users are promised a context of 32,768 tokens.",
        "The gateway caps the context at 40,000 tokens.",
        "Before March the context was limited to 16,384 tokens.",
        "Context is capped at 49,152 tokens.",
    ],
)
def test_a_context_within_the_commands_is_not(text: str) -> None:
    assert told(text) == []
