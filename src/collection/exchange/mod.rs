//! Collections as JSON lines: one entry a line.
//!
//! `line.rs` is the form of a line, `export.rs` writes lines of a snapshot, `import.rs` reads lines into transactions of a bounded size. Neither holds
//! more than the keys of an export, or the lines of one transaction.
//!
//! ```json
//! {"key":9223372036854775808,"name":"harbour","vector":[0.6,0.8],"attributes":{"year":2024},"payload":"a photograph"}
//! ```
//!
//! | member | value | may be absent or null |
//! |---|---|---|
//! | `key` | integer | beside a name |
//! | `name`, or `name_base64` | text, or the base64 of bytes that are no UTF-8 | yes |
//! | `vector` | numbers; of packed bits 0 and 1, one for each | no |
//! | `attributes` | object, as [`Attributes::from_json`](crate::Attributes::from_json) reads | yes |
//! | `payload`, or `payload_base64` | text, or the base64 of bytes that are no UTF-8 | yes |

mod export;
mod import;
mod line;

pub use export::{Export, ExportReport};
pub use import::{Import, ImportReport};
