//! The place of a number among the integers and among the floats of an index, without rounding.

use crate::attributes::Value;
use crate::collection::attributes::term::{Form, order_of_f64, order_of_i64};

/// The first place in the order of a form that is not below a number, and the first above it. `None` is behind all places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: Option<u64>,
    pub(super) above: Option<u64>,
}

/// Returns the place of a value among those of a form, which is numeric, of times, or of booleans. Returns `None` for other values.
pub(super) fn place(value: &Value, form: Form) -> Option<Place> {
    Some(match (value, form) {
        (Value::Boolean(flag), Form::Boolean) => {
            let at = u64::from(*flag);
            Place { at: Some(at), above: Some(at + 1) }
        }
        (Value::Integer(number), Form::Integer) => of_integer(*number),
        (Value::Time(time), Form::Time) => of_integer(time.as_micros()),
        (Value::Float(number), Form::Float) => {
            Place { at: Some(order_of_f64(*number)), above: above(*number) }
        }
        (Value::Float(number), Form::Integer) => float_among_integers(*number),
        (Value::Integer(number), Form::Float) => integer_among_floats(*number),
        _ => return None,
    })
}

fn of_integer(number: i64) -> Place {
    Place { at: Some(order_of_i64(number)), above: number.checked_add(1).map(order_of_i64) }
}

/// Returns the order of the next float.
fn above(number: f64) -> Option<u64> {
    (number < f64::INFINITY).then(|| order_of_f64(number.next_up()))
}

fn float_among_integers(number: f64) -> Place {
    /// 2^63, the first number above all integers.
    const END: f64 = 9_223_372_036_854_775_808.0;

    // A float of this range that is rounded is a whole number of 64 bits.
    let from = |float: f64| {
        if float >= END {
            None
        } else if float < -END {
            Some(order_of_i64(i64::MIN))
        } else {
            Some(order_of_i64(float as i64))
        }
    };
    let ceiling = number.ceil();
    if ceiling > number || !(-END..END).contains(&number) {
        return Place { at: from(ceiling), above: from(ceiling) };
    }
    of_integer(number as i64)
}

fn integer_among_floats(number: i64) -> Place {
    // The nearest float: no other one is between it and the integer.
    let nearest = number as f64;
    match (nearest as i128).cmp(&i128::from(number)) {
        std::cmp::Ordering::Less => {
            let next = above(nearest);
            Place { at: next, above: next }
        }
        std::cmp::Ordering::Equal => {
            Place { at: Some(order_of_f64(nearest)), above: above(nearest) }
        }
        std::cmp::Ordering::Greater => {
            let at = Some(order_of_f64(nearest));
            Place { at, above: at }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_are_in_one_order_at_the_limits() {
        let integers = [
            i64::MIN,
            i64::MIN + 1,
            -(1 << 53) - 1,
            -1,
            0,
            1,
            (1 << 53) + 1,
            i64::MAX - 512,
            i64::MAX - 1,
            i64::MAX,
        ];
        let floats = [
            f64::NEG_INFINITY,
            -1e300,
            -9_223_372_036_854_775_808.0,
            -9_007_199_254_740_992.0,
            -1.5,
            -0.0,
            0.0,
            f64::MIN_POSITIVE,
            0.5,
            1.0,
            9_007_199_254_740_992.0,
            9_007_199_254_740_994.0,
            9_223_372_036_854_774_784.0,
            9_223_372_036_854_775_808.0,
            1e300,
            f64::INFINITY,
        ];
        for integer in integers {
            for float in floats {
                // A float is a whole number here, or between two of them, or beyond all.
                let exact = if float.abs() > 1e19 {
                    if float > 0.0 { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
                } else {
                    (i128::from(integer) * 2).cmp(&((float * 2.0).ceil() as i128))
                };
                let among = place(&Value::Float(float), Form::Integer).unwrap();
                let order = order_of_i64(integer);
                let is_below = among.at.is_none_or(|at| order < at);
                let is_above = among.above.is_some_and(|above| order >= above);
                assert_eq!(is_below, exact.is_lt(), "{integer} {float}");
                assert_eq!(is_above, exact.is_gt(), "{integer} {float}");
                let among = place(&Value::Integer(integer), Form::Float).unwrap();
                let order = order_of_f64(float);
                let is_below = among.at.is_none_or(|at| order < at);
                let is_above = among.above.is_some_and(|above| order >= above);
                assert_eq!(is_below, exact.is_gt(), "{integer} {float}");
                assert_eq!(is_above, exact.is_lt(), "{integer} {float}");
            }
        }
    }
}
