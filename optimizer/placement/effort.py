"""How much work each part of the search does: every constant with its unit, and what half and twice of it change.

By ``python -m benchmarks.placement_effort`` on loads of DeepSeek-V3 (decode 1000/1000, prefill 4096), 2026-11-30: mean
gap in millionths of a mean device load, moves, nodes visited, CPU time. Changes of one sign at half and at twice are
chance (up to 1500e-6 over several workloads). What states no such figures was not measured there: it is read with a
deadline, with several processes or on larger meshes only.
"""

MANY_SLOTS = 6
"""Slots a device from which a tenth of the tolerance is aimed at, few rounds do, and only some slots are shared out at
a time. Half +77e-6, 1.09x; twice the same, 1.03x."""

MANY_DEVICE_SLOTS = 100
"""Slots of a mesh from which three to five slots a device get the many rounds. Half -25e-6, 5.17x; twice the same,
0.91x."""

ROUNDS_PER_SLOT, ROUNDS_PER_SLOT_OF_FEW = 20, 200
"""Rounds of search for each slot of a mesh; the second with three to five slots a device. ROUNDS_PER_SLOT: half
+11e-6, 0.64x; twice -3e-6, 1.54x. The second is not read on meshes that small."""

ROUNDS_PER_SLOT_OF_SEVERAL = 14
"""The same over several workloads. Half +135e-6, 0.52x; twice -492e-6, 1.89x."""

TURNS = ((0.35, 0.65, 50), (0.75, 0.95, 10), (1.0, 1.0, 10))
"""With three slots a device and a deadline: parts of the time after which search, then prices, end, and the gap in
tolerances that calls for prices."""

RELAXED_PART = 0.7
"""Part of the time that the relaxation with blank experts may take; the rest is for balancing without them. Read with
a deadline only."""

SEARCH_PART = 0.8
"""Part of the time that the search may take where something comes after it. Of 58 layers: linear programs of a free
split 0.3 s, nodes visited by 1,000 groups with their bounds 0.6 s, bounds of a budget of moves on nodes 0.5 s. Read
with a deadline only."""

FIRST_ROUNDS = 400
"""Rounds of all layers together, before processes share out those still open. Half the same, 0.96x; twice -4e-6,
1.12x."""

SEARCH_TURNS = ((0.3, 0.45), (0.65, 0.75), (0.9, 1.0))
"""Parts of the time after which search, then variants of the counts, end, in turn."""

VARIANTS = 4
"""Variants of a layer's counts searched side by side. Half -110e-6, 0.99x; twice -175e-6, 1.11x. None at all: gap of
288/72 on four nodes 0.040% -> 0.068%."""

FAR = 4.0
"""Times its goal's excess from which a layer's counts are varied before the last turns. At 1, 58 layers of prefill on
288/72 in 10 s: 32 to 36 layers proved for 42 to 48."""

VARIANT_PART = 20
"""Part of the rounds, one in so many, that a variant gets. Half -233e-6, 1.22x; twice +88e-6, 0.67x."""

LAST_TURNS = 6
"""Further turns for layers of one workload that their counts hold back, if only by a little. Half +13e-6, 0.74x; twice
-27e-6, 1.15x. For four loads on 288/32, 288/72 and 320/64: nothing in 2.5 times the time."""

LAYERS_A_PROCESS = 4
"""Open layers from which a process is worth while."""

SINK_FEW_SLOTS, SINK_MANY_SLOTS = 0.97, 0.7
"""Part of the excess over the floor that the limit of the next round keeps, up to five slots and beyond.
SINK_FEW_SLOTS: half -191e-6, +44 visits, 0.79x (288/72 at 0.8: 15 s for 1.4 s); twice +1541e-6, +11 visits, 1.96x.
SINK_MANY_SLOTS: half the same, 0.79x; twice the same, 2.81x."""

BUNDLES = 1000
"""Bundles of a layer from which none of more copies are exchanged. Half +4e-6, 0.84x; twice the same, 0.83x. Groups on
nodes, 288/32: no more than two copies take 1.8 s for 0.05 s."""

PART_SLOTS = 4
"""Slots of a device that take part in sharing out where not all ways are tried. Half +1101e-6, 0.72x; twice -409e-6,
19.39x."""

POWERS = (8, 16, 32, 64)
"""Powers of the norm of the loads under several workloads, in turn; the last ends each sweep. Half +472e-6, 0.84x;
twice +237e-6, 0.99x."""

PAIR_ROUNDS = 48
"""Rounds of a sweep over several workloads. Half -240e-6, 0.94x; twice -9e-6, 0.95x. Four loads on 288/32 and 288/72:
half +1200e-6 and +2500e-6, twice +1700e-6 and +800e-6."""

PRICE_FINENESS = 3
"""Tolerances to which a threshold is sought by prices. Half the same, 0.99x; twice the same, 0.99x."""

ROOM = 3000
"""Units of a threshold in the prices' dynamic programs. Half -145e-6, 0.93x; twice +2e-6, 1.04x."""

CLASSES = 480
"""Size classes with a price of their own. Half the same, 0.92x; twice the same, 0.94x."""

PRICED_COPIES = 6
"""Copies beyond the fewest that the prices' program weighs. Half +2e-6, 0.89x; twice +2e-6, 0.95x."""

CLASS_COPIES = 3
"""Copies from the fewest on whose shares begin size classes. Half -243e-6, 0.86x; twice -136e-6, 1.38x."""

CUT_ROUNDS = 80
"""Rounds of cuts for one threshold. Half the same, 0.95x; twice the same, 0.90x."""

CUTS = 12
"""Cuts of a round. Half +2e-6, 0.98x; twice -136e-6, 0.87x."""

PRICED_ROUNDINGS = 8
"""Roundings of the prices' fractional counts that are placed. Half the same, 0.88x; twice the same, 0.95x."""

PRICED_DESCENT = 600
"""Rounds of search for each of them. Half +2e-6, 0.79x; twice the same, 1.09x."""

BRACKET = 1e-3
"""Mean device loads to which the threshold of two slots is bracketed. Half -3e-6, 1.17x; twice +101e-6, 1.13x."""

TABU_STEPS = 100
"""Steps of a tabu search. Half the same, 1.06x; twice the same, 1.14x."""

TABU_RUNS = 4
"""Tabu searches of a layer in a row. None at all, measured at 320/160: gap 0.20% -> 0.44%."""

DEPTH, DEEPER, LESS_DEEP = 0.3, 1.3, 0.7
"""Part of a layer's gap that a tabu search is to close: at first; times that after it did, and after it did not."""

DEEPEST, SHALLOWEST = 0.8, 0.02
"""Limits of that part."""

PROGRAMS = (20, 80)
"""Linear programs for one question asked case by case, in turn. Half the same, 1.05x; twice the same, 1.01x. None at
all, where bounds must be certified: gap at 288/144 0.08% -> 0.17%."""

COARSE = 1e-3
"""Mean device loads down to which tabu search goes, and the first step of narrowing. Half +2e-6, 1.00x; twice the
same, 0.98x."""

WIDER = 3
"""Times wider that a question is asked where the last was not decided."""

ASKED = ((1e-3, 1.0), (1e-3, 4.0), (1e-3, 16.0), (1e-4, 16.0))
"""Gaps that CP-SAT is to close, in mean device loads, and its deterministic time for each question; the first alone
without a deadline. Half the same, 1.05x; twice the same, 0.99x. None at all: gap at 288/144 0.04% -> 0.08%, at
320/160 0.20% -> 0.28%."""

SLOTS_A_PROCESS = 4000
"""Slots over all layers from which they are shared among processes."""

ROUNDINGS = 64
"""Roundings of the linear program's fractional counts of which the coolest is kept."""

PAIRING_COPIES = 3
"""Copies from the fewest on whose shares are values to judge by."""

PAIRING_VALUES = 300
"""Values to judge by."""

PRICINGS = 30
"""Rounds of pricing counts in, of one linear program."""

RULINGS = 4
"""Times that CP-SAT is asked anew with the values that tell."""

TABU_OPTIONS = 7
"""Counts of an expert that a tabu search may give it."""

TABU_BELOW = 3
"""Of these, most below the count it begins with."""

TABU_VALUED_OPTIONS = 4
"""Of these, how many have their shares among the values."""

TABU_VALUES = 128
"""Values that a tabu search looks at first."""

TABU_TENURE = (3, 10)
"""Steps for which an expert that changed stays as it is: from, to below."""

MODEL_LITERALS = 600
"""Literals of a layer's model on devices, beyond which CP-SAT is not asked. Half the same, 1.03x; twice the same,
1.05x."""

MODEL_MEETINGS = 4000
"""Experts of groups times nodes, beyond which it is not asked for visits. Half the same, 0.96x; twice the same,
0.94x."""

BALANCE_EFFORT, WITHIN_EFFORT = 0.5, 2.0
"""CP-SAT's deterministic time for the balance of a layer, which exchanges have been at, and for moves or visits at
it. BALANCE_EFFORT: half the same, 0.66x; twice -8820e-6, 1.05x. WITHIN_EFFORT: half the same, 0.96x; twice the same,
0.83x."""

MOVE_POWERS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Powers of the norm of the loads on the way from a placement in service. Beginning at 4, then 16 and 64: gap at
288/32 within 16 moves 4.2% -> 9.8%."""

MOVE_TRIES = 12
"""Steps tried before the next power. Half the same, 0.80x; twice the same, 0.82x."""

LAYINGS = 6
"""Layings of groups on nodes from which a way is sought. Half the same, 0.81x; twice the same, 0.81x."""

COOLED_POINTS = 3
"""Placements at the frontier's end from which exchanges go on. Half -1e-6, 0.78x; twice the same, 0.80x. One alone:
273 moves for 271 at 288/32, in 0.6 times the time."""

BUNDLE = 3
"""Copies that the hottest device exchanges at most. Half -3e-6, +3 moves, 0.78x; twice the same, 0.79x."""

EXCHANGES = 400
"""Exchanges between nodes looked at together. Half the same, 0.95x; twice the same, 0.96x."""

SINGLES = 6
"""Exchanges tried one by one where several together do not help."""

KICKS = 6
"""Kicks out of a local optimum of nodes visited. Of 16 layers: 3 left 14,998 visits, 6 15,025, 12 14,972: chance."""

KICKED = 12
"""Exchanges of a kick. Half -85e-6, +35 visits, 0.87x; twice -147e-6, +22 visits, 0.97x."""

SPLIT_TRIES = 150
"""Placements tried for a free split. Half the same, 0.69x; twice the same, 1.67x."""

SPLIT_WORSE = 0.5
"""Part by which a placement may be hotter than the last and still be gone on from, at first. Loads 7, 7, 1 and 32 on
three devices of two slots: 13 of 24 seeds stay above the optimum with 0.2, none with 0.4 or 0.6. Larger layers: half
and twice the same."""

SPLIT_HOT = 0.5
"""Share of exchanges with another of the hottest devices. Four layers of four experts with 24 seeds each: 24 of 96 stay
above the optimum with 0.1, two with 0.3, none with 0.5 or 0.8. Larger layers: half and twice the same."""
