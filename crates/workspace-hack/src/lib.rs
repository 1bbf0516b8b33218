//! Nothing but a list of dependencies: see `.config/hakari.toml`.
