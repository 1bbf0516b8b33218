//! Responses to one prompt in one row: the prompt once, then the rest of each conversation.

use llama::attention::PromptGroup;
use tch::{Device, Tensor};
use trainer::placed;

/// Conversations with a common prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The common prefix of all of them.
    pub prompt: Vec<i64>,
    /// The rest of each conversation; at least one token.
    pub responses: Vec<Vec<i64>>,
}

impl Group {
    /// Splits conversations into their longest common prefix and the rests. No conversation may be empty.
    #[must_use]
    pub fn new(conversations: &[Vec<i64>]) -> Self {
        let shortest = conversations.iter().map(Vec::len).min().unwrap_or(0);
        let first = conversations.first().map_or(&[][..], Vec::as_slice);
        let same = |place: &usize| conversations.iter().all(|ids| ids[*place] == first[*place]);
        // The last token of each conversation stays in its response, since the score is read there.
        let shared = (0..shortest.saturating_sub(1)).take_while(same).count();
        Self {
            prompt: first[..shared].to_vec(),
            responses: conversations.iter().map(|ids| ids[shared..].to_vec()).collect(),
        }
    }

    /// Number of tokens in the row.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.prompt.len() + self.responses.iter().map(Vec::len).sum::<usize>()
    }

    /// Number of tokens of the longest conversation.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.prompt.len() + self.responses.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// Groups in one row.
#[derive(Debug)]
pub struct Row {
    /// `[1, tokens]` int64
    pub input_ids: Tensor,
    /// The groups of the row.
    pub groups: Vec<Vec<PromptGroup>>,
    /// The position of each response's last token, int64, group by group.
    pub last: Tensor,
}

impl Row {
    /// Lays out groups one after another.
    #[must_use]
    pub fn new(groups: &[&Group], device: Device) -> Self {
        let (mut ids, mut last, mut layout): (Vec<i64>, Vec<i64>, Vec<PromptGroup>) = Default::default();
        for group in groups {
            // A prompt has at least one token in a layout; responses without a common prefix are separate.
            if group.prompt.is_empty() {
                for response in &group.responses {
                    ids.extend(response);
                    last.push(ids.len() as i64 - 1);
                    layout.push(PromptGroup { prompt: response.len() as i64, responses: vec![] });
                }
                continue;
            }
            ids.extend(&group.prompt);
            for response in &group.responses {
                ids.extend(response);
                last.push(ids.len() as i64 - 1);
            }
            let responses = group.responses.iter().map(|response| response.len() as i64).collect();
            layout.push(PromptGroup { prompt: group.prompt.len() as i64, responses });
        }
        Self {
            input_ids: placed(Tensor::from_slice(&ids).unsqueeze(0), device),
            groups: vec![layout],
            last: placed(Tensor::from_slice(&last), device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_common_beginning_is_shared() {
        let group = Group::new(&[vec![1, 2, 3, 4], vec![1, 2, 5], vec![1, 2, 3]]);
        assert_eq!(group.prompt, [1, 2]);
        assert_eq!(group.responses, [vec![3, 4], vec![5], vec![3]]);
        assert_eq!((group.tokens(), group.longest()), (6, 4));
        // A conversation that is a prefix of another one keeps its last token.
        assert_eq!(Group::new(&[vec![1, 2], vec![1, 2, 3]]).responses, [vec![2], vec![2, 3]]);
        assert_eq!(Group::new(&[vec![1, 2]]).prompt, [1]);
    }

    #[test]
    fn a_row_knows_its_last_tokens() {
        let shared = Group::new(&[vec![1, 2, 3], vec![1, 2, 4, 5]]);
        let apart = Group::new(&[vec![7, 8], vec![9]]);
        let row = Row::new(&[&shared, &apart], Device::Cpu);
        assert_eq!(Vec::<i64>::try_from(row.input_ids.flatten(0, -1)).unwrap(), [1, 2, 3, 4, 5, 7, 8, 9]);
        assert_eq!(Vec::<i64>::try_from(&row.last).unwrap(), [2, 4, 6, 7]);
        assert_eq!(row.groups[0].iter().map(PromptGroup::tokens).sum::<i64>(), 8);
    }
}
