//! `herd serve`, also for models of `herd vision train`: they answer conversations with pictures in a thread beside the
//! engine.

use std::path::Path;

use chat::{ChatTemplate, Tokenizer};
use dataset::Message;
use llama::ModelFolder;
use openai_server::{Args, Eyes, Heard, Look, Looking, Opened};
use pictures::{Limits, Source, of_messages};
use tch::{Device, Kind};
use vision::{Answering, Composed, View, Words};

/// OpenAI's clients rarely send more; each is decoded and encoded before the first token.
const MOST_PICTURES: usize = 8;

/// Loads the model and serves it until SIGTERM or SIGINT.
///
/// # Errors
/// See [`openai_server::run`].
pub fn run(args: &Args) -> anyhow::Result<()> {
    openai_server::run_with(args, open)
}

fn open(folder: &Path, kind: Kind, device: Device) -> anyhow::Result<Opened> {
    if !vision::is_composed(folder) {
        return Ok((ModelFolder::load(folder, Some(kind), device)?, None));
    }
    let model = Composed::load(folder, None, Some(kind), device)?;
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
    let prepare = move |messages: &[Message]| prompt(&words, template.as_ref(), messages);
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

/// The prompt of a request's messages, whose pictures are data URIs: this server reads no files and fetches nothing.
fn prompt(words: &Words, template: Option<&ChatTemplate>, messages: &[Message]) -> Result<Look, String> {
    let placed = of_messages(messages, Path::new("")).map_err(|error| error.to_string())?;
    if placed.len() > MOST_PICTURES {
        return Err(format!("{} pictures are too many: at most {MOST_PICTURES}", placed.len()));
    }
    let mut pictures = Vec::with_capacity(placed.len());
    for one in placed {
        let place = format!("[{}].content[{}]", one.message, one.part);
        let Source::Bytes(bytes) = one.source else {
            return Err(format!("{place}: images come as data: URIs; this server reads no files and fetches nothing"));
        };
        View::new(&Source::Bytes(bytes.clone()), &Limits::default()).map_err(|error| format!("{place}: {error}"))?;
        pictures.push(bytes);
    }
    let template = template.ok_or("this model has no chat template")?;
    let (prompt, _) = words.prompt(template, messages, Path::new("")).map_err(|error| error.to_string())?;
    Ok(Look { prompt, pictures })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";

    #[test]
    fn pictures_are_data_uris_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        llama::NewModel { hidden: 8, layers: 1, context: 64, seed: 0 }.write(folder.path()).unwrap();
        let words = Words::from_dir(folder.path()).unwrap();
        let template = ChatTemplate::from_dir(folder.path()).unwrap();
        let look = |url: &str, count: usize| {
            let image = json!({"type": "image_url", "image_url": {"url": url}});
            let parts: Vec<Value> =
                std::iter::repeat_n(image, count).chain([json!({"type": "text", "text": "?"})]).collect();
            let messages: Vec<Message> = serde_json::from_value(json!([{"role": "user", "content": parts}])).unwrap();
            prompt(&words, template.as_ref(), &messages)
        };
        let found = look(PIXEL, 2).unwrap();
        assert_eq!(found.prompt.iter().filter(|id| **id == i64::from(words.image_id)).count(), 2);
        assert!(found.pictures.len() == 2 && found.pictures[0].starts_with(b"\x89PNG"));
        for (url, count, sentence) in [
            ("https://example.org/a.png", 1, "the picture is at an address (https://), and nothing is fetched"),
            ("/etc/passwd", 1, "[0].content[0]: images come as data: URIs; this server reads no files"),
            ("data:image/png;base64,AAAA", 1, "[0].content[0]: "),
            (PIXEL, 9, "9 pictures are too many: at most 8"),
        ] {
            let error = look(url, count).unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
    }
}
