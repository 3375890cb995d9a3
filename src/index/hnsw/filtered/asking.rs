//! A walk that asks a filter about its candidates, in the order of distance, and goes on until enough are accepted.
//!
//! Vectors that a filter rejects around the query cost the same as more answers would. The walk asks about each slot once, and
//! about none that is farther than the last answer if calls take long.

use std::cell::Cell;

use super::course::{Asked, BEYOND_CODES, Course, Next, Progress, Rejects};
use super::{AVOIDS, FilteredSearch, Walked};
use crate::arena::Slot;
use crate::graph::{Beam, Watch};
use crate::index::codes::Codes;
use crate::index::codes::representation::Representation;
use crate::index::codes::rerank::Reach;
use crate::index::entries::cost::ASK;
use crate::index::entries::space::found;
use crate::index::hnsw::walks::Walk;
use crate::index::query::hits::SearchPlan;
use crate::index::scratch::Work;

/// Accepted ones among the last few candidates tell how many are to come.
const RECENT: usize = 32;

/// The least growth of a walk on codes whose candidates end too early, by the errors of the codes.
const FARTHER: f64 = 1.2;

/// The growth in all, at most: beyond, a walk on the vectors costs no more, or the codes tell too little.
const FARTHEST: f64 = 2.5;

/// Answers expected beyond the end of a walk, as a share of those wanted, that are few enough.
const MISSED: f32 = 0.015;

/// The share of a scan's cost after which a walk that met only rejected candidates last takes a sample of the filter, and the share that
/// the sample costs.
const DOUBTFUL: f64 = 0.08;
const SAMPLED: f64 = 1.0 / 32.0;

/// The rejected share up to which all rejected vectors are likely to be around a query whose nearest are rejected: the vectors that a user
/// has seen.
const FEW_REJECTS: f64 = 0.1;

/// The growth of a walk on codes beyond the cost of a scan, at most.
const BEYOND_SCAN: f64 = 1.25;

/// Candidates whose vectors tell the errors of the codes, about.
const MEASURED: usize = 24;

/// Standard deviations of the errors by which the codes put an answer too far: more for one in fifteen. With a greater number, walks
/// that would end soon give way to scans.
const DEVIATIONS: f32 = 1.5;

/// Fewer slots tell nothing of the accepted share.
const LEAST_SAMPLE: f64 = 32.0;

/// The verdict about the codes that a walk read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sight {
    /// The nearest accepted vectors are among the candidates.
    Clear,
    /// Some are likely to be beyond the last candidate. The growth of the number of candidates that is likely to include them.
    Short(f64),
    /// The errors are of the size of distances.
    Blurred,
}

impl<'a> FilteredSearch<'a, '_> {
    /// Walks until enough candidates are accepted, and leaves these in the scratch. Returns `None` if a scan costs less.
    pub(super) fn walk_and_ask(
        &mut self,
        mut form: Representation<'a>,
        mut course: Course,
    ) -> Option<Walked<'a>> {
        let index = self.index;
        let (mut ef, mut goes_on) = (course.first, false);
        let mut farthest = None;
        let mut most = self.most(form, course, 0);
        while ef < most {
            let walk = Walk { form, beam: Beam::of(ef) };
            index.walk_wider(walk, goes_on, self.timer, self.work).ok()?;
            goes_on = true;
            let refined = index.entries.refined(form);
            let is_crowded = self.work.scratch.is_crowded;
            if !is_crowded {
                let asked = self.ask(course.wanted);
                if self.timer.expired() {
                    return Some(self.ended(form, course, false));
                }
                let kept = self.work.scratch.len();
                let is_first = course.share.is_none();
                let rejects = self.rejects(form, asked, kept, &mut course);
                if is_first && course.share.is_some() {
                    // The part that is done counts no more.
                    most = self.most(form, course, kept);
                }
                let settings = (self.request.k, self.request.ef);
                let is_coarse = refined.is_some();
                let walk = Progress { asked, kept, most, rejects, is_coarse };
                match course.next(walk, settings) {
                    Next::Scan => return None,
                    // The walk met every node that it can reach.
                    Next::Wider(_) if kept < ef => {
                        let is_enough = asked.accepted >= course.wanted;
                        return is_enough.then(|| self.ended(form, course, false));
                    }
                    Next::Wider(wider) => {
                        ef = wider;
                        continue;
                    }
                    Next::Enough => {
                        let sight = match refined {
                            Some(codes) => self.sight(codes, course, asked),
                            None => Sight::Clear,
                        };
                        if sight == Sight::Clear || kept < ef {
                            return Some(self.ended(form, course, refined.is_some()));
                        }
                        let limit = *farthest.get_or_insert_with(|| {
                            (kept as f64 * self.farthest(form)).min(most as f64 * BEYOND_SCAN)
                        });
                        // The walk ends soon, and a scan would cost more than the rest of it.
                        if let Sight::Short(growth) = sight
                            && let farther = ((kept as f64 * growth) as usize).saturating_add(1)
                            && farther as f64 <= limit
                        {
                            (ef, most) = (farther, most.max(farther + 1));
                            continue;
                        }
                        ef = course.beyond(asked.rank, false, settings).max(course.first);
                    }
                }
            }
            // Codes do not tell apart the vectors around the query.
            if refined.is_none() || self.timer.expired() {
                return None;
            }
            if !is_crowded {
                index.search_was_blurred(form, self.work);
            }
            (form, goes_on) = (index.entries.exact_beside(form), false);
            most = self.most(form, course, 0);
        }
        None
    }

    /// Returns the number of candidates, with the `kept` ones, up to which the rest of a walk on `form` costs no more than a scan.
    fn most(&self, form: Representation<'_>, course: Course, kept: usize) -> usize {
        let walked = self.index.candidates_cost(form, kept as f64);
        let pays = self.index.candidates_for(form, walked + course.scan) as usize;
        self.index.scan_ef().min(pays.max(course.first + 1))
    }

    /// Returns the growth of a walk on `form` up to which it costs less than a walk on the vectors, and tells enough.
    fn farthest(&self, form: Representation<'_>) -> f64 {
        let exact = self.index.entries.exact_beside(form);
        let growth = self.index.candidate_cost(exact) / self.index.candidate_cost(form);
        growth.min(FARTHEST)
    }

    /// Leaves the accepted candidates of a walk that is over. Their head in `work` is measured by vectors, or must be yet.
    fn ended(&mut self, form: Representation<'a>, course: Course, is_measured: bool) -> Walked<'a> {
        let Self { index, request, filter, timer, work, .. } = self;
        let Work { scratch, verdicts, head, .. } = &mut **work;
        let keys = index.entries.keys.view();
        let answers = |slot: Slot| index.entries.answers(slot, request.began);
        if is_measured {
            head.sorted.retain(|&(_, slot)| answers(slot) && verdicts.known(slot) == Some(true));
        } else {
            // Codes do not tell which of the others are nearer: the filter is asked about all, if that takes little time.
            let asks_on = !course.is_dear && form.is_coded();
            scratch.retain(usize::MAX, |node| {
                let slot = Slot::from(node);
                if !asks_on || timer.spent(1) || timer.expired() {
                    return answers(slot) && verdicts.known(slot) == Some(true);
                }
                answers(slot) && verdicts.of(slot, || filter.accepts(keys.row(slot)[0]))
            });
        }
        Walked { plan: SearchPlan::FilteredWalk, form, is_measured }
    }

    /// Returns the rejected vectors that a walk may go on to meet. After a long walk whose last candidates were all rejected, it takes a
    /// sample: if the walk met far fewer accepted vectors than that, it may meet all rejected ones.
    fn rejects(
        &mut self,
        form: Representation<'_>,
        asked: Asked,
        kept: usize,
        course: &mut Course,
    ) -> Rejects {
        let walked = self.index.candidates_cost(form, kept as f64);
        if course.rejects < usize::MAX || asked.recent > 0.0 || walked < course.scan * DOUBTFUL {
            return Rejects::of(course.rejects);
        }
        if let Some(codes) = self.index.entries.refined(form) {
            course.beyond_codes = self.beyond_codes(codes);
        }
        let len = self.index.len() as f64;
        let slots = (course.scan * SAMPLED / (ASK + self.ask)).min(len);
        let share = *course.share.get_or_insert_with(|| {
            let is_enough = slots >= LEAST_SAMPLE;
            if is_enough { self.index.sampled_share(self.filter, slots as u32) } else { 0.0 }
        });
        self.share = share;
        let is_avoided = (asked.accepted + 1) as f64 * AVOIDS <= share * asked.seen as f64;
        if !is_avoided {
            return Rejects::of(usize::MAX);
        }
        // Two deviations of the sample fewer: a scan must cost less for sure.
        let rejected = (1.0 - share) * slots;
        let of_all = |count: f64| (count.max(0.0) / slots.max(1.0) * len) as usize;
        let least = of_all(rejected - 2.0 * rejected.sqrt());
        let are_few = 1.0 - share <= FEW_REJECTS;
        let likely = of_all(rejected - 0.5 * rejected.sqrt());
        Rejects { least, likely: if are_few { likely } else { least } }
    }

    /// Returns the candidates beyond its last answer that a walk on codes needs, as a share of those before it, by the errors of the codes
    /// at the end of this walk, and by the growth of the number of candidates with distance there.
    fn beyond_codes(&mut self, codes: &Codes) -> f64 {
        let step = (self.work.scratch.len() / MEASURED).max(1);
        let at = Cell::new(0_usize);
        let is_sampled = |_: Slot| at.replace(at.get() + 1).is_multiple_of(step);
        // A search for no answers measures each candidate.
        self.index.measure_found(codes, 0, &is_sampled, self.timer, self.work);
        let Work { scratch, head, .. } = &*self.work;
        let Some((middle, last)) = scratch.reach() else { return BEYOND_CODES };
        let doubling = codes.distance(last) - codes.distance(middle);
        let growth = f64::from(DEVIATIONS * head.deviation() / doubling).exp2() - 1.0;
        if growth.is_nan() { BEYOND_CODES } else { growth.clamp(BEYOND_CODES, FARTHEST - 1.0) }
    }

    /// Asks about the candidates, one after the other, until enough are accepted.
    fn ask(&mut self, wanted: usize) -> Asked {
        let Self { index, request, filter, timer, work, .. } = self;
        let Work { scratch, verdicts, .. } = &mut **work;
        let all = index.entries.all_answer();
        // Taken after the rows: each row has a key.
        let keys = index.entries.keys.view();
        let mut asked = Asked { accepted: 0, rank: 0, recent: 0.0, seen: 0 };
        for (_, slot) in found(scratch) {
            if asked.accepted >= wanted || timer.spent(1) {
                break;
            }
            asked.seen += 1;
            let answers = all || index.entries.answers(slot, request.began);
            if answers && verdicts.of(slot, || filter.accepts(keys.row(slot)[0])) {
                asked.accepted += 1;
                asked.rank = asked.seen;
            }
        }
        let last = found(scratch).take(asked.seen).skip(asked.seen.saturating_sub(RECENT));
        let count = last.len().max(1);
        let accepted = last.filter(|&(_, slot)| verdicts.known(slot) == Some(true)).count();
        asked.recent = accepted as f64 / count as f64;
        asked
    }

    /// Puts the candidates of a walk on codes in the order of their vectors, and asks about those of the nearest `k` that it did not ask about
    /// before. Returns whether the nearest accepted vectors are among the candidates, by the errors of the codes.
    fn sight(&mut self, codes: &Codes, course: Course, asked: Asked) -> Sight {
        let Self { index, request, filter, timer, work, .. } = self;
        let entries = &index.entries;
        let (keys, k) = (entries.keys.view(), request.k);
        let accepts = |slot: Slot| filter.accepts(keys.row(slot)[0]);
        let mut verdicts = std::mem::take(&mut work.verdicts);
        if !course.is_dear {
            for (_, slot) in found(&work.scratch).skip(asked.seen) {
                if timer.spent(1) {
                    break;
                }
                verdicts.of(slot, || accepts(slot));
            }
        }
        loop {
            let may_answer = |slot: Slot| {
                verdicts.known(slot) != Some(false) && entries.answers(slot, request.began)
            };
            index.measure_found(codes, k, &may_answer, timer, work);
            // A round asks about each of the nearest, so that few rounds follow.
            let nearest = work.head.sorted.iter().take(k);
            let rejected = nearest.filter(|&&(_, slot)| !verdicts.of(slot, || accepts(slot)));
            if rejected.count() == 0 || work.head.is_blurred || timer.expired() {
                break;
            }
        }
        work.verdicts = verdicts;
        self.judge(codes, course, asked.recent)
    }

    /// Returns whether the nearest accepted vectors are among the candidates, whose head is measured.
    fn judge(&self, codes: &Codes, course: Course, recent: f64) -> Sight {
        let (k, Work { scratch, head, verdicts, .. }) = (self.request.k, &*self.work);
        if head.is_blurred {
            return Sight::Blurred;
        }
        // Without a verdict about each candidate, all count, at the accepted share of the last ones.
        let density = if course.is_dear { (recent as f32).max(1.0 / RECENT as f32) } else { 1.0 };
        let counts = |slot: Slot| course.is_dear || verdicts.known(slot) != Some(false);
        let candidates = || found(scratch).filter(|&(_, slot)| counts(slot));
        let len = candidates().count();
        let kth = head.order_of(k).map(|order| self.index.measuring(codes).distance(order));
        let ends = candidates().nth(len / 2).zip(scratch.reach());
        let (Some(kth), Some(((middle, _), (_, last)))) = (kth, ends) else { return Sight::Clear };
        let [middle, last] = [middle, last].map(|order| codes.distance(order));
        let (is_unbiased, allowed) = (codes.coder.is_unbiased(), MISSED * k as f32 / density);
        let reach = Reach { len, middle, last, is_unbiased, allowed };
        if !head.is_short(k, kth, reach) {
            return Sight::Clear;
        }
        // The number of candidates doubles again within the distance in which it doubled last.
        let doubling = scratch.reach().map_or(0.0, |(middle, _)| last - codes.distance(middle));
        let growth = f64::from((head.reach_for(kth, reach) - last) / doubling).exp2();
        Sight::Short(if growth.is_nan() { FARTHER } else { growth.max(FARTHER) })
    }
}
