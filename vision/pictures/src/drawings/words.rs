//! The words that are written.

/// Common words of four to eight letters, in alphabetical order.
pub const WORDS: [&str; 129] = [
    "apple", "arrow", "baker", "beach", "berry", "blanket", "bottle", "bread", "bridge", "brother", "bucket", "butter",
    "button", "camel", "candle", "captain", "carpet", "castle", "cherry", "circle", "city", "cloud", "coffee",
    "corner", "cotton", "cousin", "cradle", "curtain", "daughter", "desert", "dinner", "doctor", "dollar", "dragon",
    "driver", "eagle", "engine", "evening", "family", "farmer", "feather", "finger", "flower", "forest", "friend",
    "frost", "garden", "glass", "grape", "guitar", "hammer", "harbor", "helmet", "honey", "horse", "island", "jacket",
    "juice", "kettle", "kitchen", "ladder", "lemon", "letter", "lion", "market", "meadow", "melon", "mirror", "money",
    "monkey", "morning", "mother", "mountain", "music", "needle", "number", "ocean", "onion", "orange", "paper",
    "pencil", "pepper", "picture", "pigeon", "pillow", "planet", "pocket", "potato", "prince", "queen", "rabbit",
    "river", "rocket", "saddle", "salad", "school", "shadow", "silver", "sister", "spider", "spring", "station",
    "stone", "street", "sugar", "summer", "sunset", "table", "teacher", "thunder", "tiger", "tomato", "tower", "train",
    "travel", "turtle", "uncle", "valley", "velvet", "village", "violin", "wagon", "walnut", "water", "window",
    "winter", "wizard", "yellow", "zebra",
];
