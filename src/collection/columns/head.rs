//! The records about an index.

use crate::collection::error::CollectionError;
use crate::collection::format::{
    CHECKPOINT, Checkpoint, HEAD, Kind, METRIC, SETTINGS, decode_checkpoint, decode_settings,
};
use crate::distance::MAX_NAME;
use crate::index::Settings;
use crate::metric::Metric;
use crate::store::{ReadTransaction, StoreError, Table};

/// The head of a collection.
#[derive(Debug, Clone)]
pub(in crate::collection) struct Head {
    pub(in crate::collection) settings: Settings,
    pub(in crate::collection) checkpoint: Checkpoint,
    /// The name of the metric, if it is a custom one.
    pub(in crate::collection) metric: Option<String>,
}

impl Head {
    /// Refuses a custom metric that is missing, or is not that of the file.
    pub(in crate::collection) fn admit(&self, given: Option<&str>) -> Result<(), CollectionError> {
        if self.metric.as_deref() == given {
            return Ok(());
        }
        let given = given.map(str::to_owned);
        Err(match (&self.metric, given) {
            (None, Some(given)) => CollectionError::Mismatch {
                path: None,
                name: "metric",
                stored: self.settings.metric.to_string(),
                given,
            },
            (metric, given) => CollectionError::CustomMetric {
                path: None,
                metric: metric.clone().unwrap_or_default(),
                given,
            },
        })
    }
}

/// The records about an index.
pub(in crate::collection) struct Records<'t> {
    pub(in crate::collection) table: Table<'t, str>,
    pub(in crate::collection) settings: &'t [u8],
}

/// Returns the records about an index of this kind. Returns `None` if the store is empty.
pub(in crate::collection) fn read_records(
    tx: &ReadTransaction,
    expected: Kind,
) -> Result<Option<Records<'_>>, CollectionError> {
    let table = match tx.find_table::<str>(HEAD) {
        Ok(Some(table)) => table,
        Ok(None) if tx.tables()?.is_empty() => return Ok(None),
        Ok(None) | Err(StoreError::KeyType { .. }) => {
            return Err(CollectionError::NotACollection { path: None });
        }
        Err(error) => return Err(error.into()),
    };
    let settings = table.get(SETTINGS)?.ok_or(CollectionError::NotACollection { path: None })?;
    Kind::of(settings)?.expect(expected)?;
    Ok(Some(Records { table, settings }))
}

/// Returns the head of the collection, or of the saved index of this kind, that a snapshot shows. Returns `None` if the store is empty.
pub(in crate::collection) fn read_head(
    tx: &ReadTransaction,
    expected: Kind,
) -> Result<Option<Head>, CollectionError> {
    let Some(Records { table, settings }) = read_records(tx, expected)? else { return Ok(None) };
    let settings = decode_settings(settings)?;
    let missing = CollectionError::corrupt("the record of the checkpoint is missing");
    let checkpoint = decode_checkpoint(table.get(CHECKPOINT)?.ok_or(missing)?)?;
    let metric = match settings.metric {
        Metric::Custom => Some(name_of_metric(table.get(METRIC)?)?),
        _ => None,
    };
    Ok(Some(Head { settings, checkpoint, metric }))
}

/// Returns the name in the record of a custom metric.
fn name_of_metric(record: Option<&[u8]>) -> Result<String, CollectionError> {
    let record = record.filter(|name| (1..=MAX_NAME).contains(&name.len()));
    let name = record.and_then(|name| std::str::from_utf8(name).ok());
    let none = CollectionError::corrupt("the name of the custom metric is missing, or is none");
    name.map(str::to_owned).ok_or(none)
}
