//! How many candidates a walk keeps under a filter: at first, and next.

/// Candidates beyond the last answer that a walk on vectors keeps, as a share of those before it; at most `ef`.
const BEYOND: f64 = 0.15;

/// The same of a walk on codes, which put the answers in another order; their errors tell later whether more are needed.
pub(super) const BEYOND_CODES: f64 = 0.25;

/// The growth of a walk's candidates from one step to the next, at most.
const WIDER: f64 = 1.5;

/// The same if the number of rejected vectors is known, or its least by a sample, and the last candidates were all rejected: the walk
/// does not go far beyond them.
const FAR_WIDER: f64 = 3.0;

/// Candidates none of which is accepted, after which more are expected.
const HOPELESS: usize = 64;

/// The share of a scan's cost after which a walk gives way to the scan, if it met only rejected candidates last and may go on to meet only such.
const DOUBTED: f64 = 0.7;

/// The cost of a walk's end, by a sample, over that of a scan, from which on the walk gives way.
const SURELY_FAR: f64 = 1.25;

/// The same for a walk that is likely, but not sure, to meet all rejected vectors: it gives way at once.
const LIKELY_FAR: f64 = 1.1;

/// The course of a walk whose candidates are asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// Candidates at first.
    pub(super) first: usize,
    /// Accepted candidates to find.
    pub(super) wanted: usize,
    /// Rejected candidates that the walk can meet at most; `usize::MAX` if that is unknown.
    pub(super) rejects: usize,
    /// The accepted share of all vectors, once a sample told it.
    pub(super) share: Option<f64>,
    /// The candidates beyond the last answer that a walk on codes is expected to keep in the end, as a share of those before it.
    pub(super) beyond_codes: f64,
    /// Units that a scan costs.
    pub(super) scan: f64,
    /// Whether calls of the filter take longer than distances: a walk on codes then asks about no candidate that it need not.
    pub(super) is_dear: bool,
}

/// The state of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) asked: Asked,
    /// Candidates that it kept.
    pub(super) kept: usize,
    /// Candidates whose walk costs the same as a scan.
    pub(super) most: usize,
    /// Rejected vectors that it may go on to meet.
    pub(super) rejects: Rejects,
    /// Whether it is on codes that vectors refine.
    pub(super) is_coarse: bool,
}

/// The rejected vectors that a walk may go on to meet; `usize::MAX` if the number is unknown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejects {
    /// Their least number.
    pub(super) least: usize,
    /// Their expected number if all of them are likely to be around the query, because the filter rejects few vectors; else the least.
    pub(super) likely: usize,
}

impl Rejects {
    pub(super) fn of(count: usize) -> Self {
        Self { least: count, likely: count }
    }
}

/// The result of asking about candidates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Accepted candidates, up to those wanted.
    pub(super) accepted: usize,
    /// Candidates before and with the last of them.
    pub(super) rank: usize,
    /// The accepted share of the last few.
    pub(super) recent: f64,
    /// Candidates that were asked about.
    pub(super) seen: usize,
}

/// The next step of a walk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Next {
    /// The candidates are enough.
    Enough,
    /// The walk goes on with more candidates.
    Wider(usize),
    /// A scan costs less than the way that is left.
    Scan,
}

impl Course {
    /// Returns the candidates that a walk keeps if its last answer is at `rank`, for a request of `k` and `ef`.
    pub(super) fn beyond(self, rank: usize, is_coarse: bool, settings: (usize, usize)) -> usize {
        self.after(rank, if is_coarse { Some(BEYOND_CODES) } else { None }, settings)
    }

    /// Does [`Self::beyond`] for a share of candidates beyond the last answer of a walk on codes.
    fn after(self, rank: usize, share: Option<f64>, (k, ef): (usize, usize)) -> usize {
        // Accepted candidates beyond the answers count.
        let spare = self.wanted - k;
        let (share, limit) = share.map_or((BEYOND, ef), |share| (share, usize::MAX));
        let more = ((rank as f64 * share) as usize).min(limit);
        rank.saturating_add(more.saturating_sub(spare))
    }

    /// Returns the next step of a walk for a request of `k` and `ef`.
    pub(super) fn next(self, walk: Progress, (k, ef): (usize, usize)) -> Next {
        let Progress { asked, kept, most, rejects, is_coarse } = walk;
        let Asked { accepted, rank, recent, seen } = asked;
        let beyond = |rank: usize| self.beyond(rank, is_coarse, (k, ef));
        if accepted >= self.wanted {
            let enough = beyond(rank);
            return if enough > kept { Next::Wider(enough) } else { Next::Enough };
        }
        // A walk on codes goes on until their errors allow the end.
        let share = if is_coarse { Some(self.beyond_codes) } else { None };
        let end = |rejects: usize| self.after(rejects.saturating_add(self.wanted), share, (k, ef));
        // Where all that is rejected is around the query, a scan comes to the end sooner. Excluded keys are likely to be there.
        let is_far = if self.rejects < usize::MAX {
            end(self.rejects) >= most
        } else {
            let is_surely = end(rejects.least) as f64 >= most as f64 * SURELY_FAR;
            let is_likely = end(rejects.likely) as f64 >= most as f64 * LIKELY_FAR;
            rejects.likely > rejects.least && is_likely
                || is_surely && kept as f64 >= most as f64 * DOUBTED
        };
        if recent == 0.0 && kept >= HOPELESS && is_far {
            return Next::Scan;
        }
        let missing = (self.wanted - accepted) as f64;
        let expected = beyond(seen.saturating_add((missing / recent.max(1e-3)) as usize)) as f64;
        let is_known = rejects.least < usize::MAX && recent == 0.0 && kept < end(rejects.least);
        let growth = if is_known { FAR_WIDER } else { WIDER };
        let wider = (expected.min(kept as f64 * growth) as usize).min(end(self.rejects));
        let wider = if is_known { wider.min(end(rejects.least)) } else { wider };
        // A step does not pass the cost of a scan if the sample puts the end before it.
        let limit = if end(rejects.least) < most { most - 1 } else { usize::MAX };
        Next::Wider(wider.min(limit).max(kept + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COURSE: Course = Course {
        first: 64,
        wanted: 10,
        rejects: usize::MAX,
        share: None,
        beyond_codes: BEYOND_CODES,
        scan: 1e6,
        is_dear: false,
    };

    const NONE: Asked = Asked { accepted: 0, rank: 0, recent: 0.0, seen: 64 };

    fn next(asked: Asked, kept: usize, rejects: usize, is_coarse: bool) -> Next {
        let walk = Progress { asked, kept, most: 3000, rejects: Rejects::of(rejects), is_coarse };
        Course { rejects, ..COURSE }.next(walk, (10, 64))
    }

    #[test]
    fn a_walk_ends_some_candidates_beyond_its_last_answer() {
        let asked = Asked { accepted: 10, rank: 1000, recent: 0.1, seen: 1000 };
        assert_eq!(next(asked, 1063, usize::MAX, false), Next::Wider(1064));
        assert_eq!(next(asked, 1064, usize::MAX, false), Next::Enough);
        assert_eq!(next(asked, 1064, usize::MAX, true), Next::Wider(1250));
        assert_eq!(next(asked, 1250, usize::MAX, true), Next::Enough);
    }

    #[test]
    fn a_walk_goes_on_by_steps_to_where_answers_are_expected() {
        let asked = Asked { accepted: 5, rank: 64, recent: 0.5, ..NONE };
        assert_eq!(next(asked, 64, usize::MAX, false), Next::Wider(85));
        assert_eq!(next(NONE, 64, usize::MAX, false), Next::Wider(96));
        // At most 20 rejected ones are ahead, and 10 answers, and the candidates beyond.
        assert_eq!(next(Asked { seen: 20, ..NONE }, 20, 20, false), Next::Wider(34));
        assert_eq!(next(NONE, 64, 1000, false), Next::Wider(192));
    }

    #[test]
    fn a_scan_takes_over_where_the_end_is_too_far() {
        assert_eq!(next(NONE, 100, 5000, false), Next::Scan);
        assert_eq!(next(NONE, 100, 1000, false), Next::Wider(300));
        assert_eq!(next(NONE, 2000, usize::MAX, false), Next::Wider(3000));
        assert_eq!(next(NONE, 2100, usize::MAX, false), Next::Scan);
        let next = |kept, rejects| {
            let walk = Progress { asked: NONE, kept, most: 3000, rejects, is_coarse: false };
            COURSE.next(walk, (10, 64))
        };
        // The walk goes to the end by the sample, and once more up to the cost of a scan.
        assert_eq!(next(2100, Rejects::of(2200)), Next::Wider(2274));
        assert_eq!(next(2274, Rejects::of(2200)), Next::Wider(2999));
        // Few are rejected, so that all of them are likely to be around the query.
        assert_eq!(next(300, Rejects { least: 2200, likely: 3500 }), Next::Scan);
        // A sample tells that at least 2,200 are ahead.
        assert_eq!(next(300, Rejects { least: 2200, likely: 2500 }), Next::Wider(900));
        assert_eq!(next(900, Rejects { least: 2200, likely: 2500 }), Next::Wider(2274));
        assert_eq!(next(300, Rejects::of(usize::MAX)), Next::Wider(450));
    }
}
