//! `herd serve`, also for models of `herd vision train`: they answer conversations with pictures in a thread beside the
//! engine.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chat::{ChatTemplate, Tokenizer};
use dataset::{Content, Message, Part};
use image_urls::{Fetcher, Rule};
use llama::{GpuKernels, ModelFolder};
use openai_server::{Args, Eyes, Heard, Look, Looking, Opened};
use pictures::{Limits, Source, of_messages};
use serde_json::Map;
use tch::{Device, Kind};
use vision::{Answering, Composed, View, Words};

/// OpenAI's clients rarely send more; each is decoded and encoded before the first token.
const MOST_PICTURES: usize = 8;
/// Bytes of a picture at an address at most.
const LARGEST_FETCHED: u64 = 20_000_000;
/// Time limit for fetching a picture.
const FETCHED_WITHIN: Duration = Duration::from_secs(10);

/// Loads the model and serves it until SIGTERM or SIGINT.
///
/// # Errors
/// See [`openai_server::run`].
pub fn run(args: &Args) -> anyhow::Result<()> {
    let fetcher = fetcher(&args.allow_image_urls)?;
    let on_gpu = args.compute.gpu_kernels()?;
    openai_server::run_with(args, |folder, kind, device| open(folder, (kind, device, on_gpu), fetcher))
}

/// The bytes of the picture at an address, or one sentence.
type Fetch = dyn Fn(&str) -> Result<Vec<u8>, String> + Send + Sync;

/// Makes the function that fetches pictures from the allowed hosts.
fn fetcher(hosts: &[String]) -> anyhow::Result<Box<Fetch>> {
    if hosts.is_empty() {
        return Ok(Box::new(|_| Err("images come as data: URIs; this server fetches none".into())));
    }
    let rules: Result<Vec<Rule>, _> = hosts.iter().map(|host| Rule::parse(host)).collect();
    let options = image_urls::Options {
        rules: rules.context("--allow-image-urls")?,
        max_bytes: LARGEST_FETCHED,
        timeout: FETCHED_WITHIN,
    };
    let fetcher = Fetcher::new(options)?;
    Ok(Box::new(move |url| fetcher.fetch(url).map_err(|error| error.to_string())))
}

fn open(
    folder: &Path,
    (kind, device, on_gpu): (Kind, Device, GpuKernels),
    fetch: Box<Fetch>,
) -> anyhow::Result<Opened> {
    if !vision::is_composed(folder) {
        return Ok((ModelFolder::load(folder, Some(kind), device)?, None));
    }
    let mut model = Composed::load(folder, None, Some(kind), device)?;
    model.text.model.set_gpu_kernels(on_gpu);
    let path = &model.text.path;
    let text = ModelFolder {
        path: path.clone(),
        model: model.text.model.shallow_clone(),
        tokenizer: Tokenizer::from_dir(path)?,
        template: ChatTemplate::from_dir(path)?,
        stop_ids: model.text.stop_ids.clone(),
    };
    let words = Words::from_dir(path)?;
    let template = ChatTemplate::from_dir(path)?;
    let prepare = move |messages: &[Message]| prompt(&words, template.as_ref(), messages, &*fetch);
    let answer = move |looking: &Looking, each: Heard| {
        let Looking { look, sampling, seed, max_new_tokens, top_logprobs, stop } = looking;
        let sources: Vec<Source> = look.pictures.iter().cloned().map(Source::Bytes).collect();
        let answering = Answering {
            sampling: sampling.clone(),
            seed: *seed,
            max_new_tokens: *max_new_tokens,
            top_logprobs: *top_logprobs,
            stops: stop.clone(),
        };
        let features = model.look(&sources, &Limits::default()).map_err(|error| error.to_string())?;
        let completion = model
            .answer(&look.prompt, &features, &answering, |choice, text| each(choice.clone(), text.to_owned()))
            .map_err(|error| error.to_string())?;
        Ok(completion.finish_reason)
    };
    Ok((text, Some(Eyes { prepare: Box::new(prepare), answer: Box::new(answer) })))
}

/// The prompt of a request's messages, whose pictures are data URIs, or at addresses that `fetch` takes. This server reads no
/// files.
fn prompt(words: &Words, template: Option<&ChatTemplate>, messages: &[Message], fetch: &Fetch) -> Result<Look, String> {
    let messages = &with_fetched(messages, fetch)?;
    let placed = of_messages(messages, Path::new("")).map_err(|error| error.to_string())?;
    if placed.len() > MOST_PICTURES {
        return Err(format!("{} pictures are too many: at most {MOST_PICTURES}", placed.len()));
    }
    let mut pictures = Vec::with_capacity(placed.len());
    for one in placed {
        let place = format!("[{}].content[{}]", one.message, one.part);
        let Source::Bytes(bytes) = one.source else {
            return Err(format!("{place}: images come as data: URIs; this server reads no files"));
        };
        View::new(&Source::Bytes(bytes.clone()), &Limits::default()).map_err(|error| format!("{place}: {error}"))?;
        pictures.push(bytes);
    }
    let template = template.ok_or("this model has no chat template")?;
    let (prompt, _) = words.prompt(template, messages, Path::new("")).map_err(|error| error.to_string())?;
    Ok(Look { prompt, pictures })
}

/// The messages with the pictures at addresses in place of the addresses.
fn with_fetched(messages: &[Message], fetch: &Fetch) -> Result<Vec<Message>, String> {
    let addresses: usize = messages.iter().flat_map(parts).filter(|part| address(part).is_some()).count();
    if addresses > MOST_PICTURES {
        return Err(format!("{addresses} pictures are too many: at most {MOST_PICTURES}"));
    }
    let mut fetched = messages.to_vec();
    for (at, message) in fetched.iter_mut().enumerate() {
        let Some(Content::Parts(content)) = &message.content else { continue };
        let mut parts = content.parts().to_vec();
        for (number, part) in parts.iter_mut().enumerate() {
            let Some(url) = address(part).map(str::to_owned) else { continue };
            let bytes = fetch(&url).map_err(|error| format!("[{at}].content[{number}]: {error}"))?;
            let data = format!("data:;base64,{}", STANDARD.encode(bytes));
            *part = Part::Other { kind: "image".into(), fields: Map::from_iter([("image".into(), data.into())]) };
        }
        message.content = Some(Content::from_parts(parts));
    }
    Ok(fetched)
}

fn parts(message: &Message) -> &[Part] {
    match &message.content {
        Some(Content::Parts(content)) => content.parts(),
        _ => &[],
    }
}

/// The address of a part that is a picture at one; other forms are for [`of_messages`] to judge.
fn address(part: &Part) -> Option<&str> {
    let Part::Other { fields, .. } = part else { return None };
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let value = ["image", "image_url", "url", "path"].into_iter().find_map(field)?;
    let text = value.as_str().or_else(|| value.get("url")?.as_str())?;
    let is_address = text.split_once("://").is_some_and(|(scheme, _)| !scheme.starts_with("data:"));
    is_address.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

    fn tiny() -> (Words, Option<ChatTemplate>) {
        let folder = tempfile::tempdir().unwrap();
        llama::NewModel { hidden: 8, layers: 1, context: 64, seed: 0 }.write(folder.path()).unwrap();
        (Words::from_dir(folder.path()).unwrap(), ChatTemplate::from_dir(folder.path()).unwrap())
    }

    fn asking(parts: Vec<Value>) -> Vec<Message> {
        let parts: Vec<Value> = parts.into_iter().chain([json!({"type": "text", "text": "?"})]).collect();
        serde_json::from_value(json!([{"role": "user", "content": parts}])).unwrap()
    }

    fn image_url(url: &str) -> Value {
        json!({"type": "image_url", "image_url": {"url": url}})
    }

    #[test]
    fn pictures_are_data_uris_and_nothing_else() {
        let (words, template) = tiny();
        let none = fetcher(&[]).unwrap();
        let look =
            |url: &str, count: usize| prompt(&words, template.as_ref(), &asking(vec![image_url(url); count]), &*none);
        let found = look(PIXEL, 2).unwrap();
        assert_eq!(found.prompt.iter().filter(|id| **id == i64::from(words.image_id)).count(), 2);
        assert!(found.pictures.len() == 2 && found.pictures[0].starts_with(b"\x89PNG"));
        for (url, count, sentence) in [
            ("https://example.org/a.png", 1, "[0].content[0]: images come as data: URIs; this server fetches none"),
            ("/etc/passwd", 1, "[0].content[0]: images come as data: URIs; this server reads no files"),
            ("data:image/png;base64,AAAA", 1, "[0].content[0]: "),
            (PIXEL, 9, "9 pictures are too many: at most 8"),
        ] {
            let error = look(url, count).unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn addresses_are_fetched_where_that_is_allowed() {
        let (words, template) = tiny();
        let pixel = STANDARD.decode(PIXEL.split_once(',').unwrap().1).unwrap();
        let bytes = pixel.clone();
        let fetch = move |url: &str| match url {
            "https://a.example/1.png" => Ok(bytes.clone()),
            "https://a.example/text" => Ok(b"<html>".to_vec()),
            _ => Err(format!("{url} is refused")),
        };
        let look = |parts: Vec<Value>| prompt(&words, template.as_ref(), &asking(parts), &fetch);
        let forms = vec![
            image_url("https://a.example/1.png"),
            image_url(PIXEL),
            json!({"type": "image", "url": "https://a.example/1.png"}),
            json!({"type": "image", "image": "https://a.example/1.png"}),
        ];
        let found = look(forms).unwrap();
        assert_eq!(found.pictures, vec![pixel; 4]);
        assert_eq!(found.prompt.iter().filter(|id| **id == i64::from(words.image_id)).count(), 4);
        for (parts, sentence) in [
            (vec![image_url(PIXEL), image_url("https://b.example/")], "[0].content[1]: https://b.example/ is refused"),
            (vec![image_url("file:///etc/passwd")], "[0].content[0]: file:///etc/passwd is refused"),
            (vec![image_url("/etc/passwd")], "[0].content[0]: images come as data: URIs; this server reads no files"),
            (vec![image_url("https://a.example/text")], "[0].content[0]: "),
            (vec![image_url("https://b.example/"); 9], "9 pictures are too many: at most 8"),
        ] {
            let error = look(parts).unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn hosts_are_rules() {
        let error = fetcher(&["a.example/x".into()]).err().unwrap();
        assert!(
            format!("{error:#}").starts_with("--allow-image-urls: the rule \"a.example/x\" names no host"),
            "{error:#}"
        );
        let fetch = fetcher(&["*.a.example".into()]).unwrap();
        assert_eq!(fetch("https://b.example/1.png").unwrap_err(), "images are not fetched from https://b.example");
    }
}
