"""Keys of a config.json that cannot change the shape of a language model, each with its reason."""

from __future__ import annotations

from typing import Final

_REASONS: Final[dict[str, str]] = {
    "how the library loads the file": """
        architectures auto_map transformers_version use_cache return_dict torchscript _name_or_path name_or_path
        output_attentions output_hidden_states tf_legacy_loss use_bfloat16 is_encoder_decoder is_decoder
        add_cross_attention cross_attention_hidden_size tie_encoder_decoder pruned_heads chunk_size_feed_forward
        tokenizer_class task_specific_params problem_type finetuning_task id2label label2id custom_pipelines
        pretraining_tp ep_size use_mamba_kernels language_model_only _attn_implementation attn_implementation
        _commit_hash use_flash_attn gradient_checkpointing mamba_chunk_size chunk_size num_logits_to_keep
        unsloth_fixed unsloth_version model_name parallelization_style
    """,
    "tokens": """
        bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id eos_token_index prefix
        image_token_id image_token_index video_token_id audio_token_id boi_token_id eoi_token_id boa_token_id
        eoa_token_id eoa_token_index eoi_token_index boi_token_index vision_start_token_id vision_end_token_id
        media_placeholder_token_id ignore_index video_placeholder tokenizer_vocab_size eod_token_id im_start_id
        im_end_id text_start_id text_end_id image_newline_token_id mask_init_id pad_id bos_id eos_id sep_id unk_id
        forced_bos_token_id forced_eos_token_id mm_tokens_per_image vision_soft_tokens_per_image mask_token_id
        image_seq_length img_context_token_id vision_token_id
    """,
    "generation": """
        do_sample early_stopping temperature top_p typical_p num_beams num_beam_groups num_return_sequences
        diversity_penalty length_penalty repetition_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size
        bad_words_ids begin_suppress_tokens suppress_tokens exponential_decay_length_penalty max_length min_length
        output_scores return_dict_in_generate remove_invalid_values top_k max_new_tokens cache_implementation
        generation_config
    """,
    "training": """
        attention_dropout attn_pdrop embd_pdrop resid_pdrop emb_pdrop hidden_dropout hidden_dropout_prob dropout
        attention_probs_dropout_prob embd_dropout embedding_dropout residual_dropout output_dropout ffn_dropout
        classifier_dropout initializer_range initializer_factor init_std rescale_prenorm_residual aux_loss_alpha
        router_aux_loss_coef router_jitter_noise seq_aux output_router_logits moe_jitter_eps moe_loss_weight
        input_jitter_noise moe_aux_loss_coeff router_z_loss_coef router_entropy_coef capacity_factor
        moe_random_routing_dropped_token moe_drop_tokens router_bias_update_speed
        mtp_loss_scaling_factor aux_loss_coef routing_device_loss moe_capacity
    """,
    "positions: rotary embeddings have no weights": """
        rope_theta rope_scaling rope_parameters rope_interleave rope_local_base_freq rope_ratio rotary_dim rotary_pct
        rotary_emb_base partial_rotary_factor partial_rotary_factors compress_rope_theta indexer_rope_interleave
        original_max_position_embeddings mrope_section use_mrope max_sequence_length seq_length attn_temperature_tuning
        attn_scale floor_scale temperature_tuning no_rope_layers no_rope_layer_interval rope_layers rotary
        initial_context_length long_factor short_factor max_position_embeddings n_positions max_seq_len alibi_bias_max
        rope_type swa_rope_theta use_rope_scaling yarn_only_types use_rope
    """,
    "arithmetic without weights": """
        rms_norm_eps layer_norm_eps layer_norm_epsilon norm_eps norm_epsilon norm_topk_prob hidden_act hidden_activation
        activation_function mamba_hidden_act scoring_func topk_method routed_scaling_factor swiglu_limit
        swiglu_limits swiglu_limits_shared attn_logit_softcapping final_logit_softcapping query_pre_attn_scalar
        clip_qkv attn_output_multiplier embedding_multiplier_scale output_multiplier_scale max_attn_value
        embedding_multiplier residual_multiplier attention_multiplier logits_scaling hc_eps hc_sinkhorn_iters
        apply_residual_connection_post_layernorm residual_in_fp32 time_step_floor time_step_max time_step_min
        time_step_limit slow_but_exact attention_softmax_in_fp32 scale_attn_weights scale_attn_by_inverse_layer_idx
        reorder_and_upcast_attn moe_router_dtype use_grouped_topk output_gate_type postnorm
        layernorm_full_attention_alpha layernorm_full_attention_beta layernorm_linear_attention_alpha
        layernorm_linear_attention_beta layernorm_mlp_alpha layernorm_mlp_beta full_attn_alpha_factor
        full_attn_beta_factor linear_attn_alpha_factor linear_attn_beta_factor mlp_alpha_factor mlp_beta_factor
        rms_norm qk_layernorm_eps swiglu_alpha swiglu_beta routing_scale scale_emb
        scale_depth moe_router_scaling_factor use_bidirectional_attention
        logit_scale embedding_scale
    """,
    "towers beside the language model, which only `vision` counts": """
        audio_config vision_tower projector_hidden_act mm_projector_type mm_hidden_size mm_vision_tower
        multimodal_projector_bias spatial_merge_size vision_feature_layer vision_feature_select_strategy
        image_grid_pinpoints use_image_newline_parameter use_unified_vision_chunk projector_hidden_size
        image_token_len understand_projector_stride vision_select_layer projector_bias
        projection_dim video_config img_token_compression_config process_image_mode
        num_reward_heads video_token_index
    """,
    "the format the file was saved in": "torch_dtype dtype",
}

_BY_KEY: Final[dict[str, str]] = {key: reason for reason, keys in _REASONS.items() for key in keys.split()}


def reason_to_ignore(key: str) -> str | None:
    """Why `key` cannot change a shape; None where it may."""
    return _BY_KEY.get(key)
