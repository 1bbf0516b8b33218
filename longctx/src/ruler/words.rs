//! Words for keys and lists. RULER uses the package wonderwords; these words are our own, so the keys differ.

/// First halves of keys.
pub const ADJECTIVES: [&str; 96] = [
    "able", "amber", "ample", "ancient", "arid", "bitter", "blank", "blunt", "bold", "brave", "brief", "bright",
    "brisk", "broad", "calm", "careful", "cheap", "chilly", "clean", "clever", "coarse", "cool", "crisp", "curious",
    "damp", "daring", "deep", "dense", "dim", "distant", "dry", "dull", "eager", "early", "empty", "exact", "faint",
    "fancy", "fast", "fierce", "firm", "flat", "fond", "frail", "fresh", "full", "gentle", "glad", "grand", "grave",
    "great", "grim", "hard", "harsh", "heavy", "hollow", "honest", "humble", "icy", "idle", "keen", "kind", "large",
    "late", "lean", "light", "lively", "lone", "loud", "low", "loyal", "mellow", "mild", "modest", "narrow", "neat",
    "noble", "odd", "pale", "plain", "proud", "quick", "quiet", "rapid", "rare", "rough", "round", "sharp", "shy",
    "slow", "smooth", "solid", "steep", "stern", "stout", "vivid",
];

/// Second halves of keys.
pub const NOUNS: [&str; 120] = [
    "acorn", "anchor", "apron", "arrow", "attic", "badge", "barn", "basin", "beacon", "bench", "berry", "blanket",
    "bottle", "branch", "brick", "bridge", "broom", "bucket", "button", "cabin", "candle", "canyon", "cargo", "carpet",
    "castle", "cellar", "chain", "chalk", "cliff", "clock", "cloud", "coat", "comet", "copper", "corner", "cottage",
    "cradle", "crown", "curtain", "dagger", "dairy", "desk", "dome", "drum", "eagle", "engine", "falcon", "farm",
    "feather", "fence", "ferry", "fiddle", "flag", "flute", "forest", "fountain", "fox", "garden", "glove", "goose",
    "grove", "hammer", "harbor", "hedge", "helmet", "heron", "hill", "hinge", "island", "jacket", "jewel", "kettle",
    "kite", "lake", "lamp", "lantern", "leaf", "lemon", "lever", "locket", "mantle", "maple", "market", "meadow",
    "mirror", "moss", "needle", "nest", "oak", "orchard", "otter", "paddle", "palace", "parcel", "pebble", "pillow",
    "pine", "plough", "pocket", "quarry", "raven", "ribbon", "river", "saddle", "sail", "shell", "shield", "silver",
    "sparrow", "spoon", "stable", "stone", "table", "thimble", "tower", "tunnel", "valley", "wagon", "willow",
    "window",
];
