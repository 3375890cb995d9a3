//! The quantization of the graph that a bench measures.

use std::error::Error;

use nearfield::Quantization;

use crate::input::Arguments;

/// Returns the quantization that `--quantization` names, or `Quantization::None` without the argument.
pub(crate) fn quantization(args: &Arguments) -> Result<Quantization, Box<dyn Error>> {
    Ok(match args.text("quantization").unwrap_or("none") {
        "none" => Quantization::None,
        "auto" => Quantization::Auto,
        "sq8" => Quantization::Sq8,
        "sq4" => Quantization::Sq4,
        other => return Err(format!("no quantization '{other}': none, auto, sq8 or sq4").into()),
    })
}
