//! Selects and orders good conversations, by pure functions of their scores (the Llama 3 paper, section 4.2.3).

/// The scores of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Scores {
    /// The reward model's score.
    pub reward: Option<f64>,
    /// The judge's points divided by the maximum.
    pub judged: Option<f64>,
    /// The judge's level of difficulty, 1 to 3.
    pub level: Option<u64>,
    /// Number of intents that the judge found.
    pub intents: Option<usize>,
}

impl Scores {
    /// The difficulty: the level (1 if unknown) plus a tenth for each intent, at most 1 for all intents.
    #[must_use]
    pub fn difficulty(&self) -> f64 {
        self.level.unwrap_or(1) as f64 + (self.intents.unwrap_or(0) as f64 / 10.0).min(1.0)
    }
}

/// Whether each conversation is kept: its reward is in the top `share` of all rewards, OR the judge gave its maximum.
/// The two often disagree, and their union has the best recall. A conversation without any score is not kept.
#[must_use]
pub fn good(scores: &[Scores], share: f64) -> Vec<bool> {
    let border = top_share_border(scores, share);
    let rewarded = |score: &Scores| score.reward.zip(border).is_some_and(|(reward, border)| reward >= border);
    scores.iter().map(|score| rewarded(score) || score.judged == Some(1.0)).collect()
}

/// The lowest reward in the top share, which has at least one conversation.
fn top_share_border(scores: &[Scores], share: f64) -> Option<f64> {
    let mut rewards: Vec<f64> = scores.iter().filter_map(|score| score.reward).collect();
    rewards.sort_by(|a, b| b.total_cmp(a));
    let count = ((share * rewards.len() as f64).ceil() as usize).clamp(1, rewards.len().max(1));
    rewards.get(count - 1).copied()
}

/// Quality times difficulty, for the order of deduplication. Quality is the share of rewards that are not above that
/// of the conversation, or the judge's share of points, or the mean of both if both are known; 0.5 if neither is.
#[must_use]
pub fn ranks(scores: &[Scores]) -> Vec<f64> {
    let mut rewards: Vec<f64> = scores.iter().filter_map(|score| score.reward).collect();
    rewards.sort_by(f64::total_cmp);
    let percentile = |reward: f64| rewards.partition_point(|&other| other <= reward) as f64 / rewards.len() as f64;
    let quality = |score: &Scores| match (score.reward.map(percentile), score.judged) {
        (Some(a), Some(b)) => (a + b) / 2.0,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => 0.5,
    };
    scores.iter().map(|score| quality(score) * score.difficulty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(reward: Option<f64>, judged: Option<f64>) -> Scores {
        Scores { reward, judged, ..Scores::default() }
    }

    #[test]
    fn the_top_quartile_or_the_judges_maximum() {
        let rewards: Vec<Scores> = (0..8).map(|i| with(Some(f64::from(i)), None)).collect();
        assert_eq!(good(&rewards, 0.25), [false, false, false, false, false, false, true, true]);
        let mut both = rewards.clone();
        both[0].judged = Some(1.0);
        both[1].judged = Some(0.9);
        assert_eq!(good(&both, 0.25), [true, false, false, false, false, false, true, true]);
        // Equal rewards at the border are all included.
        let equal = vec![with(Some(1.0), None); 4];
        assert_eq!(good(&equal, 0.25), [true; 4]);
        assert_eq!(good(&[with(None, Some(1.0)), with(None, None)], 0.25), [true, false]);
    }

    #[test]
    fn order_is_quality_times_difficulty() {
        let scores = [
            Scores { level: Some(1), ..with(Some(2.0), None) },
            Scores { level: Some(3), intents: Some(5), ..with(Some(1.0), None) },
            Scores { level: Some(2), ..with(None, Some(0.5)) },
            Scores::default(),
        ];
        // 1 · 1; 0.5 · 3.5; 0.5 · 2; 0.5 · 1
        assert_eq!(ranks(&scores), [1.0, 1.75, 1.0, 0.5]);
        assert_eq!(Scores { intents: Some(40), ..Scores::default() }.difficulty(), 2.0);
    }
}
