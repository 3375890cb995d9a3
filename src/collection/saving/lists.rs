//! Inverted-file indexes in the store: two records, and lists as extents.

use bytemuck::cast_slice;

use crate::collection::columns::{Records, read_records};
use crate::collection::error::CollectionError;
use crate::collection::format::{
    COLUMNS, ELEMENTS, HEAD, Kind, METRICS, Reader, SETTINGS, VERSION, VERSION_OF_CODED_LISTS,
    chunk_key, corrupt, decode_chunk, encode_chunk, number, value,
};
use crate::index::{
    BASE_OF_LISTS, BASES, Ivf, LENGTHS, ListCoding, ListImage, ListSettings, ListState, OF_LISTS,
    Originals, Watched,
};
use crate::store::{ExtentId, ReadTransaction, WriteTransaction};

/// The record of [`ListState`].
const DIRECTORY: &str = "directory";
/// The record of [`Watched`].
const WATCHED: &str = "watched";

/// The content of lists: codes, and whether originals are kept beside them.
const CODES: [(u8, (ListCoding, Originals)); 9] = [
    (0, (ListCoding::Vectors, Originals::Kept)),
    (5, (ListCoding::Pq4, Originals::Kept)),
    (6, (ListCoding::Rabitq1, Originals::Kept)),
    (7, (ListCoding::Rabitq2, Originals::Kept)),
    (8, (ListCoding::Rabitq4, Originals::Kept)),
    (9, (ListCoding::Pq4, Originals::Dropped)),
    (10, (ListCoding::Rabitq1, Originals::Dropped)),
    (11, (ListCoding::Rabitq2, Originals::Dropped)),
    (12, (ListCoding::Rabitq4, Originals::Dropped)),
];

fn encode_settings(settings: &ListSettings, version: u32) -> Vec<u8> {
    let mut out = version.to_le_bytes().to_vec();
    out.push(Kind::Lists as u8);
    out.push(number(&METRICS, settings.metric));
    out.push(number(&ELEMENTS, settings.element));
    out.push(number(&CODES, (settings.coding, settings.originals)));
    out.extend((settings.dimension as u32).to_le_bytes());
    out.extend((settings.lists.unwrap_or(0) as u32).to_le_bytes());
    out.extend((settings.nprobe.unwrap_or(0) as u64).to_le_bytes());
    out.extend((settings.sub_vectors.unwrap_or(0) as u32).to_le_bytes());
    out.extend(settings.seed.to_le_bytes());
    out
}

fn decode_settings(bytes: &[u8]) -> Result<ListSettings, CollectionError> {
    Kind::of(bytes)?.expect(Kind::Lists)?;
    let mut reader = Reader(bytes);
    reader.u32()?;
    let [_, metric, element, codes] = reader.take()?;
    let metric = value(&METRICS, metric).ok_or(corrupt("the metric is unknown"))?;
    let element = value(&ELEMENTS, element).ok_or(corrupt("the element type is unknown"))?;
    let codes = value(&CODES, codes).ok_or(corrupt("the quantization is unknown"))?;
    let dimension = reader.u32()? as usize;
    let some = |value: u64| usize::try_from(value).ok().filter(|&value| value > 0);
    let lists = some(reader.u32()?.into());
    let nprobe = some(reader.u64()?);
    let sub_vectors = some(reader.u32()?.into());
    let seed = reader.u64()?;
    reader.end()?;
    let (coding, originals) = codes;
    Ok(ListSettings {
        dimension,
        metric,
        element,
        lists,
        nprobe,
        coding,
        sub_vectors,
        originals,
        seed,
    })
}

fn encode_state(state: &ListState) -> Vec<u8> {
    let ListState { centroids, vectors, train_at, changes, balance, quantizer, .. } = state;
    let mut out = centroids.to_le_bytes().to_vec();
    for number in [*vectors, *train_at, *changes, balance.to_bits()] {
        out.extend(number.to_le_bytes());
    }
    if let Some((fingerprint, quantizer)) = quantizer {
        out.extend(fingerprint.to_le_bytes());
        out.extend_from_slice(quantizer);
    }
    out
}

fn decode_state(bytes: &[u8]) -> Result<ListState, CollectionError> {
    let mut reader = Reader(bytes);
    let centroids = reader.u32()?;
    let (vectors, train_at, changes) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let balance = f64::from_bits(reader.u64()?);
    let quantizer =
        if reader.0.is_empty() { None } else { Some((reader.u64()?, reader.0.to_vec())) };
    Ok(ListState { centroids, vectors, train_at, changes, balance, quantizer, watched: None })
}

fn encode_watched(watched: &Watched) -> Vec<u8> {
    let Watched { trainings, strays, distance, code_error, unbiasing } = *watched;
    let mut out = [trainings.to_le_bytes(), strays.to_le_bytes()].concat();
    out.extend([distance, code_error, unbiasing].map(f32::to_le_bytes).as_flattened());
    out
}

fn decode_watched(bytes: &[u8]) -> Result<Watched, CollectionError> {
    let mut reader = Reader(bytes);
    let (trainings, strays) = (reader.u64()?, reader.u64()?);
    let mut float = || reader.u32().map(f32::from_bits);
    let (distance, code_error, unbiasing) = (float()?, float()?, float()?);
    reader.end()?;
    Ok(Watched { trainings, strays, distance, code_error, unbiasing })
}

/// Writes an index into a store that is empty.
pub(super) fn write_lists(
    tx: &mut WriteTransaction,
    image: &ListImage<'_>,
) -> Result<(), CollectionError> {
    let mut head = tx.table::<str>(HEAD)?;
    let is_coded = image.state.quantizer.is_some();
    let version = if is_coded { VERSION_OF_CODED_LISTS } else { VERSION };
    head.insert(SETTINGS, &encode_settings(&image.settings, version))?;
    head.insert(DIRECTORY, &encode_state(&image.state))?;
    if let Some(watched) = &image.state.watched {
        head.insert(WATCHED, &encode_watched(watched))?;
    }
    put(tx, LENGTHS, 0, cast_slice(&image.lengths))?;
    let (bases, base_of_lists) = image.bases();
    put(tx, BASES, 0, cast_slice(bases))?;
    put(tx, BASE_OF_LISTS, 0, cast_slice(&base_of_lists))?;
    let mut buffer = Vec::new();
    for (chunk, run) in (0..).zip(image.runs()) {
        for column in OF_LISTS {
            if run.len() == 1 {
                put(tx, column, chunk, image.part(column, run.start))?;
                continue;
            }
            buffer.clear();
            run.clone().for_each(|list| buffer.extend_from_slice(image.part(column, list)));
            put(tx, column, chunk, &buffer)?;
        }
    }
    Ok(())
}

/// Writes a chunk, unless it is empty.
fn put(
    tx: &mut WriteTransaction,
    column: u32,
    chunk: u32,
    bytes: &[u8],
) -> Result<(), CollectionError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let extent = tx.put_extent(bytes)?;
    let entry = encode_chunk(extent.0, bytes.len() as u64);
    tx.table::<u64>(COLUMNS)?.insert(chunk_key(column, chunk), &entry)?;
    Ok(())
}

/// Returns the index that a snapshot shows.
pub(super) fn read_lists(tx: &ReadTransaction) -> Result<Ivf, CollectionError> {
    let records =
        read_records(tx, Kind::Lists)?.ok_or(CollectionError::NotACollection { path: None })?;
    let Records { table, settings } = records;
    let version = Reader(settings).u32()?;
    let settings = decode_settings(settings)?;
    let missing = corrupt("the record of the lists is missing");
    let mut state = decode_state(table.get(DIRECTORY)?.ok_or(missing)?)?;
    state.watched = table.get(WATCHED)?.map(decode_watched).transpose()?;
    if version == VERSION_OF_CODED_LISTS && state.watched.is_none() {
        return Err(corrupt("the record of what is watched is missing"));
    }
    let missing = corrupt("the table of the columns is missing");
    let columns = tx.find_table::<u64>(COLUMNS)?.ok_or(missing)?;
    Ivf::restore(&settings, &state, |column, chunk| {
        let missing = corrupt("a chunk of a column is missing");
        let entry = columns.get(chunk_key(column, chunk))?.map(decode_chunk).transpose()?;
        let (extent, len) = entry.ok_or(missing)?;
        let extent = tx.extent(ExtentId(extent))?;
        if extent.len() != len {
            return Err(corrupt("a chunk has another length than its extent"));
        }
        Ok(extent.bytes()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damaged_ones_are_errors() {
        for (_, metric) in METRICS {
            for (_, element) in ELEMENTS {
                for (_, (coding, originals)) in CODES {
                    let settings = ListSettings {
                        dimension: 100,
                        metric,
                        element,
                        lists: Some(7).filter(|_| originals == Originals::Kept),
                        nprobe: Some(usize::MAX).filter(|_| metric != crate::metric::Metric::L2),
                        coding,
                        sub_vectors: Some(3).filter(|_| coding == ListCoding::Pq4),
                        originals,
                        seed: u64::MAX - 1,
                    };
                    let bytes = encode_settings(&settings, VERSION);
                    let coded = encode_settings(&settings, VERSION_OF_CODED_LISTS);
                    assert_eq!(decode_settings(&coded).unwrap(), settings);
                    assert!(crate::collection::format::decode_settings(&coded).is_err());
                    assert_eq!(decode_settings(&bytes).unwrap(), settings);
                    for len in 0..bytes.len() {
                        assert!(decode_settings(&bytes[..len]).is_err());
                    }
                    assert!(decode_settings(&[&bytes[..], &[0]].concat()).is_err());
                    let graph = crate::collection::format::decode_settings(&bytes);
                    assert!(graph.is_err());
                }
            }
        }
        for quantizer in [None, Some((9, vec![1, 2, 3]))] {
            let state = ListState {
                centroids: 3,
                vectors: 1 << 40,
                train_at: u64::MAX,
                changes: 5,
                balance: 1.25,
                quantizer,
                watched: None,
            };
            let bytes = encode_state(&state);
            assert_eq!(decode_state(&bytes).unwrap(), state);
            for len in 0..36 {
                assert!(decode_state(&bytes[..len]).is_err());
            }
        }
        let watched = Watched {
            trainings: 3,
            strays: u64::MAX,
            distance: 0.5,
            code_error: f32::INFINITY,
            unbiasing: 1.25,
        };
        let bytes = encode_watched(&watched);
        assert_eq!(decode_watched(&bytes).unwrap(), watched);
        for len in 0..bytes.len() {
            assert!(decode_watched(&bytes[..len]).is_err());
        }
        assert!(decode_watched(&[&bytes[..], &[0]].concat()).is_err());
    }
}
