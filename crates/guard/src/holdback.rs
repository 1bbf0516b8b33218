//! Decides which part of an answer may leave a server: a state machine over its tokens.
//!
//! The answer so far is judged as a whole each time another window of tokens has arrived. A token is released after a good verdict that
//! covers it and the window after it, or the end of the answer. No token leaves unjudged, and none after a bad verdict.

use std::collections::VecDeque;

/// The times at which an answer is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Once, at its end.
    Whole,
    /// Each time this many tokens have arrived.
    Tokens(usize),
}

/// One answer. `T` is the data that is passed on for each token.
#[derive(Debug)]
pub struct HoldBack<T> {
    window: Window,
    /// Items that have not been released, in order.
    held: VecDeque<T>,
    /// The text so far.
    text: String,
    /// Numbers of tokens: arrived, covered by the last good verdict, released.
    came: usize,
    judged: usize,
    left: usize,
    ended: bool,
    closed: bool,
}

/// The part of the answer that a verdict covers; it is passed back with the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent(usize);

impl<T> HoldBack<T> {
    /// An empty answer.
    #[must_use]
    pub fn new(window: Window) -> Self {
        let held = VecDeque::new();
        Self { window, held, text: String::new(), came: 0, judged: 0, left: 0, ended: false, closed: false }
    }

    /// Adds a token: the item to pass on, and its text. After [`HoldBack::block`] it is dropped.
    pub fn push(&mut self, item: T, text: &str) {
        if self.closed {
            return;
        }
        self.came += 1;
        self.text.push_str(text);
        self.held.push_back(item);
    }

    /// Marks the answer as complete.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The text to judge now, if a verdict is due.
    #[must_use]
    pub fn due(&self) -> Option<(&str, Extent)> {
        let enough = match self.window {
            Window::Whole => false,
            Window::Tokens(tokens) => self.came - self.judged >= tokens.max(1),
        };
        let at_the_end = self.ended && self.judged < self.came;
        (!self.closed && (enough || at_the_end)).then_some((self.text.as_str(), Extent(self.came)))
    }

    /// Records a good verdict for the part named by [`HoldBack::due`]. Returns the released items.
    pub fn pass(&mut self, extent: Extent) -> Vec<T> {
        self.judged = self.judged.max(extent.0);
        self.release()
    }

    /// The items that may leave without another verdict: at the end all of them, if the last verdict covers them.
    pub fn release(&mut self) -> Vec<T> {
        let most = match self.window {
            _ if self.closed => return Vec::new(),
            _ if self.ended && self.judged == self.came => self.came,
            Window::Whole => 0,
            Window::Tokens(tokens) => self.judged.saturating_sub(tokens),
        };
        let count = most.saturating_sub(self.left);
        self.left += count;
        self.held.drain(..count).collect()
    }

    /// Records a bad verdict: nothing more is released.
    pub fn block(&mut self) {
        self.closed = true;
        self.held.clear();
    }

    /// Number of tokens so far.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.came
    }

    /// Number of tokens that are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether a verdict was bad.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.closed
    }

    /// Whether nothing more will be released.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.closed || self.ended && self.left == self.came
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Simulates an answer of `length` tokens that is unsafe from token `bad` on, with verdicts that arrive `late` tokens after the
    /// question. Returns the released tokens, and whether the answer was blocked.
    fn run(window: Window, length: usize, bad: Option<usize>, late: usize) -> (Vec<usize>, bool) {
        let mut answer = HoldBack::new(window);
        let (mut left, mut asked): (Vec<usize>, Option<(usize, bool, Extent)>) = (Vec::new(), None);
        for token in 0..=length {
            match token < length {
                true => answer.push(token, "x"),
                false => answer.end(),
            }
            loop {
                if asked.is_none()
                    && let Some((text, extent)) = answer.due()
                {
                    assert_eq!(text.len(), answer.tokens());
                    asked = Some((token, bad.is_some_and(|bad| text.len() > bad), extent));
                }
                // At the end only verdicts are waited for.
                let Some((at, is_bad, extent)) = asked.take_if(|(at, ..)| token >= *at + late || token == length)
                else {
                    break;
                };
                assert!(at <= token);
                if is_bad {
                    answer.block();
                } else {
                    left.extend(answer.pass(extent));
                }
            }
        }
        left.extend(answer.release());
        assert!(answer.is_done());
        (left, answer.is_blocked())
    }

    #[test]
    fn a_token_leaves_with_the_window_behind_it_judged() {
        let mut answer = HoldBack::new(Window::Tokens(2));
        answer.push('a', "a");
        assert_eq!(answer.due(), None);
        answer.push('b', "b");
        let (text, extent) = answer.due().unwrap();
        assert_eq!(text, "ab");
        assert!(answer.pass(extent).is_empty());
        answer.push('c', "c");
        assert_eq!(answer.due(), None);
        answer.push('d', "d");
        let extent = answer.due().unwrap().1;
        assert_eq!(answer.pass(extent), ['a', 'b']);
        answer.end();
        assert_eq!(answer.due(), None);
        assert_eq!(answer.release(), ['c', 'd']);
        assert!(answer.is_done());
    }

    proptest! {
        #[test]
        fn a_good_answer_leaves_whole(window in 0usize..9, length in 0usize..60, late in 0usize..9) {
            for window in [Window::Whole, Window::Tokens(window)] {
                prop_assert_eq!(run(window, length, None, late), ((0..length).collect(), false));
            }
        }

        #[test]
        fn nothing_unsafe_leaves(window in 0usize..9, length in 1usize..60, place in 0usize..60, late in 0usize..9) {
            let bad = place % length;
            prop_assert_eq!(run(Window::Whole, length, Some(bad), late), (vec![], true));
            let (left, blocked) = run(Window::Tokens(window), length, Some(bad), late);
            prop_assert!(blocked && left == (0..left.len()).collect::<Vec<_>>());
            // Neither the unsafe token nor the window before it is released.
            prop_assert!(left.len() + window <= bad || left.is_empty(), "{left:?} {bad}");
        }
    }
}
