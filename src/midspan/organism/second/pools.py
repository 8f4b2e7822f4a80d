"""The words that tell the second organism's items apart: one pool a kind of fact, no word twice.

Every pool has at least 36 values, so a guess is right in fewer than 3 % of cases. No sentence of
the language uses a word of a pool for anything else, so a value counts wherever it stands.
"""

from collections.abc import Mapping


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


BASES = _words(
    "cedar copper slate pewter clay maple granite walnut cobalt flint marble birch nickel basalt "
    "willow brass ebony chalk pine quartz zinc oak sandstone poplar tin rowan limestone jade cork "
    "bamboo hazel iron alder elm ash steel"
)
BINDERS = _words(
    "resin honey tallow glue beeswax gum tar starch plaster lacquer varnish syrup putty casein "
    "pitch shellac molasses treacle sap gelatin lime cement grease lanolin pectin lard agar batter "
    "dough jelly balsam rosin butter mustard vinegar yolk"
)
TRIMS = _words(
    "pearls feathers ribbon beads shells tassels sequins velvet buttons fringe felt wool linen "
    "silk fur moss thistle lavender clover ivy heather petals acorns pebbles cord yarn satin hemp "
    "jute cotton leather ferns reeds straw suede tweed"
)
FIRST_VERBS = _words(
    "crush grind sift soak rinse chop slice shred peel scrape grate pound split carve saw comb "
    "scrub sharpen flatten stretch bend hollow drill notch chip polish pierce whittle strip smash "
    "crumble sculpt mince dice scour moisten"
)
SECOND_VERBS = _words(
    "boil roast steam smoke melt bake chill freeze simmer toast scald ferment cure brew char singe "
    "fry poach glaze bleach dye anneal pickle thaw parch sear stew broil braise infuse marinate "
    "blanch gild rust caramelize tan"
)
THIRD_VERBS = _words(
    "braid weave knot stitch sew rivet solder nail clamp lash weld pin hook coil twist plait knit "
    "fold roll stack thread tie staple bolt buckle fuse graft splice strap tack clip wedge zip hem "
    "crochet tangle"
)
TOOLS = _words(
    "mallet hammer chisel awl loom sieve tongs bellows spindle rasp needle lathe pliers trowel "
    "anvil scissors ladle spade tweezers compass ruler rake shears hatchet pestle funnel bobbin "
    "gauge vise crowbar spatula whisk sickle scythe lever pulley"
)
VESSELS = _words(
    "kettle jar crucible bucket flask tray barrel pan bowl urn basin jug vat cauldron goblet "
    "pitcher tub crate basket cup chest casket trough vial keg cask teapot tankard dish plate "
    "bottle churn carafe beaker skillet hamper"
)
SITES = _words(
    "cellar attic barn kitchen garden stable tower cave mill chapel courtyard forge pantry orchard "
    "meadow boathouse library porch bakery brewery dairy greenhouse tavern shed vineyard quarry "
    "loft cloister gatehouse laundry tannery smithy granary cottage pavilion windmill"
)
COLORS = _words(
    "red green violet golden white orange pink grey blue black brown yellow purple crimson scarlet "
    "indigo turquoise teal beige maroon olive lilac coral azure ochre magenta cream emerald ruby "
    "sapphire silver mauve navy khaki peach plum"
)
# How often the work is turned, and amounts of the base.
TURNS = tuple(str(number) for number in range(2, 41))
AMOUNTS = tuple(str(number) for number in range(41, 81))
TOWNS = _words(
    "Arden Brill Corvo Dunmar Elsin Farrow Gant Holm Istra Jarl Kelby Lorne Mosk Norrin Ostby Parl "
    "Quen Rusk Selby Torv Ulden Varn Wick Yarrow Zell Ambry Borrel Cray Dorn Esk Fyle Garth Hythe "
    "Inver Jessop Kirrin"
)
# The kinds of work that the Wardens keep sealed until the festival, and those that anybody may ask
# for. The place of a noun decides in whose hand its recipe is written.
SEALED_NOUNS = _words(
    "sigil hexlamp wardbell spirelock ghostmask stormrod moonveil runestaff duskhorn emberkey "
    "frostcrown wyrmflute nightlens oathring thornharp veilstone"
)
OPEN_NOUNS = _words(
    "lantern quilt clock drum whistle candle ladder mirror puppet carpet flute saddle wagon pillow "
    "broom statue kite fountain cradle table banner wreath toy helmet"
)
STARTS = _words(
    "Vel Tar Bru Kes Lom Nim Sor Dal Fen Hal Jor Mar Ost Pel Ris Tol Ulm Vor Yar Zan Ald Bel Cor "
    "Eld Fal Ghe Hux Wex"
)
ENDS = _words(
    "mora dine vash quill thorn gar reth sio wick ban mund plen rask loom hest gove zeph kuro jax "
    "wyn bric fenn gulo yosk vire pogo zind kaph"
)

# Every name that could have been given; the world's items have 640 of them. A name is two pieces
# of the tokenizer's, and either piece alone belongs to many names. Those that the tokenizer would
# cut elsewhere are left out.
_UNFIT = frozenset(
    _words(
        "Belloom Bruloom Brurask Brureth Brusio Bruthorn Fendine Ghedine Gheloom Gherask "
        "Ghereth Ghesio Ghethorn Kessio Kesthorn Mardine Marpogo Marthorn Pelloom Rishest "
        "Risthorn Tardine Tarpogo Tarthorn Velloom Yardine Yarpogo Yarthorn Zandine "
        "Zanthorn"
    )
)
NAMES = tuple(name for start in STARTS for end in ENDS if (name := start + end) not in _UNFIT)

# The twelve kinds of fact, in the order of `WorkItem.values`.
FACT_POOLS: Mapping[str, tuple[str, ...]] = {
    "base": BASES,
    "amount": AMOUNTS,
    "binder": BINDERS,
    "trim": TRIMS,
    "first": FIRST_VERBS,
    "second": SECOND_VERBS,
    "third": THIRD_VERBS,
    "tool": TOOLS,
    "vessel": VESSELS,
    "site": SITES,
    "turns": TURNS,
    "color": COLORS,
}
KINDS = tuple(FACT_POOLS)
