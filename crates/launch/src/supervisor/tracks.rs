//! Tracks the place of every rank, and finds the ranks that stay too long.
//!
//! Ranks in the same state share one track: with events for all ranks at once, the cost of an event does not grow with their number.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use super::limits::{Learned, Limit};
use super::policy::Kind;
use super::signs::{Beat, Exit, Rank, Step, Time, Who};

/// The phase before the first step.
pub const LOAD: &str = "load";

/// Number of promised heartbeats that must be missing before this counts as silence.
const PROMISES: u32 = 3;

/// The track of one rank, or of all ranks that share its place.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub beat: Option<Beat>,
    /// The last sign of life.
    heard: Time,
    /// The time when it reached its place.
    changed: Time,
    /// The first step of the attempt.
    first_step: Option<Step>,
    /// The time since which a signal has stopped it.
    stopped: Option<Time>,
}

/// The state of other ranks that the limits of a rank depend on.
#[derive(Debug, Clone, Copy)]
struct Others {
    /// The time since which all ranks wait; none while one does not.
    all_wait_since: Option<Time>,
    any_beats: bool,
}

/// A rank over its limit.
#[derive(Debug, Clone)]
pub(super) struct Late {
    pub rank: Rank,
    pub kind: Kind,
    pub since: Time,
    pub limit: Limit,
    pub beat: Option<Beat>,
}

impl Track {
    fn new(now: Time) -> Self {
        Self { beat: None, heard: now, changed: now, first_step: None, stopped: None }
    }

    fn first(&self, beat: &Beat) -> bool {
        beat.phase == LOAD || self.first_step.is_none_or(|step| step == beat.step)
    }

    fn beat(&mut self, now: Time, beat: Beat, learned: &mut Learned) {
        self.heard = now;
        if let Some(before) = &self.beat {
            if before.same_place(&beat) {
                return;
            }
            learned.add(before, self.first(before), now.saturating_sub(self.changed));
        }
        if self.first_step.is_none() && beat.phase != LOAD {
            self.first_step = Some(beat.step);
        }
        self.changed = now;
        self.beat = Some(beat);
    }

    fn works(&self) -> bool {
        self.beat.as_ref().is_none_or(|beat| beat.waiting.is_none())
    }

    /// The time when it is late, with the kind, the start of the stay, and the limit.
    fn due(&self, learned: &Learned, others: Others) -> Option<(Time, Kind, Time, Limit)> {
        let limits = learned.settings();
        let at = |kind, since: Time, limit: Limit| (since + limit.time, kind, since, limit);
        let unlearned = |time: Duration| Limit { time, seen: 0 };
        if let Some(since) = self.stopped {
            return Some(at(Kind::Stopped, since, unlearned(limits.stopped)));
        }
        let Some(beat) = &self.beat else {
            return if others.any_beats {
                Some(at(Kind::Silence, self.heard, unlearned(limits.fixed.unwrap_or(limits.first))))
            } else {
                limits.output.map(|time| at(Kind::Silence, self.heard, unlearned(time)))
            };
        };
        let silence = beat.every.map(|every| {
            let time = limits.silence.max(Duration::from_secs(u64::from(every)) * PROMISES);
            at(Kind::Silence, self.heard, unlearned(time))
        });
        let since = match (self.works(), others.all_wait_since) {
            (true, _) => self.changed,
            (false, None) => return silence,
            // The rank that came first waited for the last one, not for the network.
            (false, Some(since)) => since,
        };
        let stall = at(Kind::Stall, since, learned.limit(beat, self.first(beat)));
        Some(silence.filter(|silence| silence.0 < stall.0).unwrap_or(stall))
    }
}

/// Gives a rank its own track, copied from the common one.
fn separate<'a>(
    own: &'a mut BTreeMap<Rank, Track>,
    common: Option<&Track>,
    ranks: usize,
    rank: Rank,
) -> Option<&'a mut Track> {
    if rank as usize >= ranks {
        return None;
    }
    match own.entry(rank) {
        Entry::Occupied(entry) => Some(entry.into_mut()),
        Entry::Vacant(entry) => Some(entry.insert(common?.clone())),
    }
}

/// The tracks of all ranks of an attempt.
#[derive(Debug)]
pub(super) struct Tracks {
    ranks: usize,
    /// The track of all ranks that are not in `own`; none when all of those have ended.
    common: Option<Track>,
    own: BTreeMap<Rank, Track>,
    exits: Vec<Option<Exit>>,
    ended: usize,
    /// Whether any rank of any attempt has sent a heartbeat.
    pub any_beats: bool,
    pub learned: Learned,
}

impl Tracks {
    pub fn new(ranks: usize, learned: Learned) -> Self {
        Self {
            ranks,
            common: None,
            own: BTreeMap::new(),
            exits: vec![None; ranks],
            ended: 0,
            any_beats: false,
            learned,
        }
    }

    /// Resets the tracks for a new attempt.
    pub fn restart(&mut self, now: Time) {
        self.common = Some(Track::new(now));
        self.own.clear();
        self.exits.fill(None);
        self.ended = 0;
    }

    pub fn running(&self) -> usize {
        self.ranks - self.ended
    }

    pub fn exit(&self, rank: Rank) -> Option<Exit> {
        self.exits.get(rank as usize).copied().flatten()
    }

    pub fn all_succeeded(&self) -> bool {
        self.exits.iter().all(|exit| *exit == Some(Exit::Code(0)))
    }

    /// The first running rank.
    pub fn first_running(&self) -> Option<Rank> {
        self.exits.iter().position(Option::is_none).and_then(|at| Rank::try_from(at).ok())
    }

    /// The running ranks.
    pub fn who_runs(&self) -> Who {
        let ended = self.exits.iter().zip(0..).filter(|(exit, _)| exit.is_some()).map(|(_, rank)| rank).collect();
        Who::AllBut(ended)
    }

    /// The number of running ranks in the set.
    pub fn count(&self, who: &Who) -> usize {
        self.exits.iter().zip(0..).filter(|(exit, rank)| exit.is_none() && who.has(*rank)).count()
    }

    /// The lowest rank in the set.
    pub fn first_of(&self, who: &Who) -> Option<Rank> {
        (0..Rank::try_from(self.ranks).ok()?).find(|rank| who.has(*rank))
    }

    /// The place of a rank in its work.
    pub fn place_of(&self, rank: Rank) -> Option<&Beat> {
        self.own.get(&rank).or(self.common.as_ref()).and_then(|track| track.beat.as_ref())
    }

    /// Applies a change to the tracks of ranks.
    fn each(&mut self, who: &Who, mut change: impl FnMut(&mut Track, &mut Learned)) {
        let Self { ranks, common, own, exits, learned, .. } = self;
        let mut one = |own: &mut BTreeMap<Rank, Track>, rank: Rank| {
            if let Some(track) = separate(own, common.as_ref(), *ranks, rank) {
                change(track, learned);
            }
        };
        match who {
            Who::One(rank) => one(own, *rank),
            Who::These(these) => these.iter().for_each(|rank| one(own, *rank)),
            Who::AllBut(others) => {
                for rank in others {
                    separate(own, common.as_ref(), *ranks, *rank);
                }
                // A rank that has ended keeps its track, which tells where it was.
                own.retain(|rank, _| others.contains(rank) || exits[*rank as usize].is_some());
                if let Some(track) = common {
                    change(track, learned);
                }
            }
        }
    }

    pub fn beat(&mut self, now: Time, who: &Who, beat: &Beat) {
        self.any_beats = true;
        self.each(who, |track, learned| track.beat(now, beat.clone(), learned));
    }

    /// Applies a change that does not move ranks to another place.
    fn touch(&mut self, who: &Who, change: impl Fn(&mut Track)) {
        let Self { ranks, common, own, .. } = self;
        let kept = match who {
            Who::One(rank) => std::slice::from_ref(rank),
            Who::These(ranks) | Who::AllBut(ranks) => ranks,
        };
        for rank in kept {
            separate(own, common.as_ref(), *ranks, *rank);
        }
        own.iter_mut().filter(|(rank, _)| who.has(**rank)).for_each(|(_, track)| change(track));
        if let (Some(track), Who::AllBut(_)) = (common, who) {
            change(track);
        }
    }

    pub fn heard(&mut self, now: Time, who: &Who) {
        self.touch(who, |track| track.heard = now);
    }

    pub fn stopped(&mut self, now: Time, who: &Who) {
        self.touch(who, |track| track.stopped = Some(now));
    }

    /// A stopped process continues: its limits start again now.
    pub fn continued(&mut self, now: Time, who: &Who) {
        self.touch(who, |track| {
            track.stopped = None;
            track.heard = now;
            track.changed = now;
        });
    }

    pub fn exited(&mut self, who: &Who, exit: Exit) {
        let Self { ranks, common, own, .. } = self;
        let kept = match who {
            Who::One(rank) => std::slice::from_ref(rank),
            Who::These(these) | Who::AllBut(these) => these,
        };
        for rank in kept {
            separate(own, common.as_ref(), *ranks, *rank);
        }
        if matches!(who, Who::AllBut(_)) {
            *common = None;
        }
        for (slot, rank) in self.exits.iter_mut().zip(0..) {
            if slot.is_none() && who.has(rank) {
                *slot = Some(exit);
                self.ended += 1;
            }
        }
    }

    /// The tracks of running ranks, each with one of its ranks.
    fn alive(&self) -> impl Iterator<Item = (Option<Rank>, &Track)> {
        let common = self.common.as_ref().filter(|_| self.own.len() < self.ranks);
        let own = self.own.iter().filter(|(rank, _)| self.exits[**rank as usize].is_none());
        common.into_iter().map(|track| (None, track)).chain(own.map(|(rank, track)| (Some(*rank), track)))
    }

    fn others(&self) -> Others {
        let works = self.alive().any(|(_, track)| track.works());
        let last = self.alive().map(|(_, track)| track.changed).max().filter(|_| !works);
        Others { all_wait_since: last, any_beats: self.any_beats }
    }

    /// The time when the first rank will be late; it may be in the past.
    pub fn deadline(&self) -> Option<Time> {
        let others = self.others();
        self.alive().filter_map(|(_, track)| track.due(&self.learned, others)).map(|(at, ..)| at).min()
    }

    /// The late ranks, without those that only wait for them.
    pub fn late(&self, now: Time) -> Vec<Late> {
        let others = self.others();
        let mut late = Vec::new();
        for (rank, track) in self.alive() {
            let Some((at, kind, since, limit)) = track.due(&self.learned, others) else { continue };
            if at > now {
                continue;
            }
            let one = |rank| Late { rank, kind, since, limit, beat: track.beat.clone() };
            match rank {
                Some(rank) => late.push(one(rank)),
                None => {
                    let all = (0..).take(self.ranks).filter(|rank| !self.own.contains_key(rank));
                    late.extend(all.map(one));
                }
            }
        }
        late.sort_by_key(|late| late.rank);
        // If all ranks wait, those behind are in an earlier collective than the rest.
        let number = |late: &Late| late.beat.as_ref().map_or(0, |beat| beat.collective);
        let all_wait = late.iter().all(|late| late.beat.as_ref().is_some_and(|beat| beat.waiting.is_some()));
        if all_wait && let Some(behind) = late.iter().map(number).min() {
            late.retain(|late| number(late) == behind);
        }
        late
    }

    /// The waiting ranks that are not late: their number, and the heartbeat of one of them.
    pub fn waiting(&self, late: &[Late]) -> (usize, Option<&Beat>) {
        let (mut count, mut found) = (0, None);
        for (rank, track) in self.alive() {
            let Some(beat) = track.beat.as_ref().filter(|beat| beat.waiting.is_some()) else { continue };
            let is_late = |rank: Rank| late.iter().any(|late| late.rank == rank);
            let here = match rank {
                Some(rank) => usize::from(!is_late(rank)),
                None => (0..).take(self.ranks).filter(|rank| !self.own.contains_key(rank) && !is_late(*rank)).count(),
            };
            if here > 0 {
                found = Some(beat);
            }
            count += here;
        }
        (count, found)
    }
}
