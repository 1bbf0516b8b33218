//! Hierarchical summaries: summaries of chunks, then summaries of summaries, until one is left.

use anyhow::ensure;
use run::Progress;

use super::{Ask, Writer};

/// Tokens of a summary of one chunk, and of one of several.
pub const TOKENS: (usize, usize) = (512, 768);

/// Groups the next texts to summarise: neighbours together, up to `most` tokens, and at least two in a group if there are two, so that
/// every level has fewer texts.
#[must_use]
pub fn group(texts: &[(String, usize)], most: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut size = 0;
    for (at, (_, tokens)) in texts.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if size + tokens <= most || group.len() == 1 => {
                group.push(at);
                size += tokens;
            }
            _ => {
                groups.push(vec![at]);
                size = *tokens;
            }
        }
    }
    groups
}

/// The summary of chunks; none when one of its parts was truncated or empty.
///
/// # Errors
/// When the model does not answer, or a text cannot be counted.
pub fn of(
    writer: &mut Writer,
    (summary, combine): (&str, &str),
    chunks: &[&str],
    most: usize,
    count: &dyn Fn(&str) -> anyhow::Result<usize>,
    progress: &Progress,
) -> anyhow::Result<Option<String>> {
    let ask = |prompt: &str, text: &str, max_new_tokens: usize| Ask {
        prompt: prompt.replace("{text}", text),
        sample: 0,
        temperature: 0.0,
        max_new_tokens,
    };
    let first: Vec<Ask> = chunks.iter().map(|chunk| ask(summary, chunk, TOKENS.0)).collect();
    let mut replies = writer.ask(&first, progress)?;
    loop {
        if replies.iter().any(|reply| !reply.is_whole || reply.text.is_empty()) {
            return Ok(None);
        }
        if let [one] = &replies[..] {
            return Ok(Some(one.text.clone()));
        }
        let texts = replies.iter().map(|reply| Ok((reply.text.clone(), count(&reply.text)?)));
        let texts = texts.collect::<anyhow::Result<Vec<_>>>()?;
        let groups = group(&texts, most);
        ensure!(groups.len() < texts.len(), "summaries do not get fewer");
        let asks: Vec<Ask> = groups
            .iter()
            .map(|group| {
                let joined: Vec<&str> = group.iter().map(|at| texts[*at].0.as_str()).collect();
                ask(combine, &joined.join("\n\n"), TOKENS.1)
            })
            .collect();
        replies = writer.ask(&asks, progress)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_fewer_texts() {
        let texts = |sizes: &[usize]| sizes.iter().map(|size| (String::new(), *size)).collect::<Vec<_>>();
        assert_eq!(group(&texts(&[300, 300, 300, 300]), 700), [vec![0, 1], vec![2, 3]]);
        assert_eq!(group(&texts(&[100, 100, 100, 900, 100]), 350), [vec![0, 1, 2], vec![3, 4]]);
        // Texts that are too long on their own are still grouped in pairs.
        assert_eq!(group(&texts(&[900, 900, 900]), 350), [vec![0, 1], vec![2]]);
        assert_eq!(group(&texts(&[5]), 350), [vec![0]]);
    }
}
