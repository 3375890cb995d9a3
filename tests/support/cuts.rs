//! Power cuts of a simulated disk.

use nearfield::store::Cut;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

/// Returns a kind of power cut, each as likely as the others.
pub(crate) fn any_cut(random: &mut Xoshiro256PlusPlus) -> Cut {
    match random.random_range(0..6) {
        0 => Cut::Nothing,
        1 => Cut::Everything,
        2 => Cut::Prefix,
        3 => Cut::Subset(10),
        4 => Cut::Subset(90),
        _ => Cut::Subset(50),
    }
}
