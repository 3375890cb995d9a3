//! Transactions of collections.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use nearfield::store::Durability;
use nearfield::{AsVector, Attributes, Collection, Transaction as Inner, VectorRef};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple, PyType};

use crate::arguments::is_one;
use crate::arrays::{Vectors, keys, vectors};
use crate::fault::{Fault, Outcome, invalid, mistyped, type_name};
use crate::filters::{Selection, admit_change};
use crate::predicates::{attributes, dict, needed};
use crate::running::quick;
use crate::searchable::Shape;
use crate::view::Id;

/// Vectors that a transaction takes between two questions for signals.
const CHUNK: usize = 4096;

/// The thread that used the transaction of a collection last, while it is open.
#[derive(Clone, Default)]
pub(crate) struct Holder(Arc<Mutex<Option<ThreadId>>>);

impl Holder {
    fn set(&self, thread: Option<ThreadId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = thread;
    }

    /// Refuses to wait for a transaction of this thread.
    pub(crate) fn admit(&self) -> Outcome<()> {
        let holder = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if holder == Some(thread::current().id()) {
            let text = "this thread has a transaction of the collection open; end it first";
            return Err(Fault::Own("DeadlockError", text.to_owned()));
        }
        Ok(())
    }
}

enum State {
    /// Not begun. Later states do not keep the collection, so that it can be closed.
    Fresh(Collection),
    Open(Box<Inner>),
    /// A method of another thread has the transaction.
    Busy,
    Ended,
}

/// Changes that are made together or not at all: `with collection.write() as tx: ...`.
#[pyclass(frozen, module = "nearfield", name = "Transaction")]
pub(crate) struct Transaction {
    shape: Shape,
    durability: Durability,
    holder: Holder,
    state: Mutex<State>,
}

/// The keys of an upsert.
enum Ids {
    Keys(Vec<u64>),
    Names(Vec<Vec<u8>>),
}

impl Ids {
    fn new(value: &Bound<'_, PyAny>) -> Outcome<Self> {
        let is_list = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
        let first = if is_list && value.len()? > 0 { Some(value.get_item(0)?) } else { None };
        if !first.as_ref().is_some_and(is_name) {
            return Ok(Self::Keys(keys(value)?.as_slice()?.to_vec()));
        }
        let names = value.try_iter()?.map(|item| match Id::new(&item?)? {
            Id::Name(name) => Ok(name),
            Id::Key(key) => Err(mistyped(format!(
                "the list has names, and the key {key}; give one or the other"
            ))),
        });
        names.collect::<Outcome<_>>().map(Self::Names)
    }

    fn len(&self) -> usize {
        match self {
            Self::Keys(keys) => keys.len(),
            Self::Names(names) => names.len(),
        }
    }
}

fn is_name(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>()
}

fn is_one_id(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if is_name(value) { Ok(true) } else { is_one(value) }
}

/// Reads a list of values, one for each of `count` keys, of which some may be None.
fn each<T>(
    value: Option<&Bound<'_, PyAny>>,
    count: usize,
    name: &str,
    read: impl Fn(&Bound<'_, PyAny>) -> Outcome<T>,
) -> Outcome<Vec<Option<T>>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let is_list = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
    if !is_list {
        let text =
            format!("{name} of a batch is a list, one for each key, not {}", type_name(value));
        return Err(mistyped(text));
    }
    let values = value.try_iter()?.map(|item| {
        let item = item?;
        if item.is_none() { Ok(None) } else { read(&item).map(Some) }
    });
    let values = values.collect::<Outcome<Vec<_>>>()?;
    if values.len() != count {
        let found = values.len();
        return Err(invalid(format!("{name} has {found} entries for {count} keys")));
    }
    Ok(values)
}

fn payload(value: &Bound<'_, PyAny>) -> Outcome<Vec<u8>> {
    let bytes = value.cast::<PyBytes>();
    let bytes =
        bytes.map_err(|_| mistyped(format!("a payload is bytes, not {}", type_name(value))))?;
    Ok(bytes.as_bytes().to_vec())
}

/// A part of the vectors.
fn part<'a>(
    view: &VectorRef<'a>,
    elements: usize,
    first: usize,
    count: usize,
) -> Outcome<VectorRef<'a>> {
    let range = first * elements..(first + count) * elements;
    let part = match *view {
        VectorRef::F32(all) => all.get(range).map(AsVector::as_vector),
        VectorRef::F16(all) => all.get(range).map(AsVector::as_vector),
        VectorRef::Bf16(all) => all.get(range).map(AsVector::as_vector),
        VectorRef::I8(all) => all.get(range).map(AsVector::as_vector),
        VectorRef::U8(all) => all.get(range).map(AsVector::as_vector),
        _ => None,
    };
    part.ok_or_else(|| invalid("fewer vectors than keys"))
}

impl Transaction {
    pub(crate) fn new(
        collection: Collection,
        shape: Shape,
        durability: &str,
        holder: Holder,
    ) -> Outcome<Self> {
        let durability = match durability {
            "immediate" => Durability::Immediate,
            "eventual" => Durability::Eventual,
            "none" => Durability::None,
            _ => {
                return Err(invalid(format!(
                    "durability is {durability:?}; allowed: \"immediate\", \"eventual\", \"none\""
                )));
            }
        };
        let state = Mutex::new(State::Fresh(collection));
        Ok(Self { shape, durability, holder, state })
    }

    /// Begins the transaction, and waits for the end of those of other threads.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        admit_change()?;
        let collection = match self.replace(State::Busy) {
            State::Fresh(collection) => collection,
            other => {
                self.replace(other);
                let text = "a transaction is entered once; begin another one";
                return Err(Fault::Own("TransactionError", text.to_owned()).into());
            }
        };
        match self.turn(py, &collection) {
            Ok(mut tx) => {
                tx.set_durability(self.durability);
                self.holder.set(Some(thread::current().id()));
                self.replace(State::Open(Box::new(tx)));
                Ok(())
            }
            Err(error) => {
                self.replace(State::Fresh(collection));
                Err(error)
            }
        }
    }

    /// Takes the right to write, until a signal ends the wait.
    fn turn(&self, py: Python<'_>, collection: &Collection) -> PyResult<Inner> {
        let mut pause = Duration::from_micros(20);
        loop {
            if let Some(tx) = quick(py, || Ok(collection.try_begin_write()?))? {
                return Ok(tx);
            }
            self.holder.admit()?;
            py.detach(|| thread::sleep(pause));
            pause = (2 * pause).min(Duration::from_millis(5));
            py.check_signals()?;
        }
    }

    fn replace(&self, state: State) -> State {
        let mut now = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *now, state)
    }

    /// Takes the open transaction out, to work on it without a lock.
    fn take(&self) -> Outcome<Box<Inner>> {
        let mut now = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *now, State::Busy) {
            State::Open(tx) => {
                self.holder.set(Some(thread::current().id()));
                Ok(tx)
            }
            other => {
                let text = match other {
                    State::Fresh(_) => {
                        "the transaction has not begun; enter it, as with `with collection.write() as tx:`"
                    }
                    State::Ended => "the transaction has ended; begin another one",
                    _ => "another thread uses the transaction; wait for its call",
                };
                *now = other;
                Err(Fault::Own("TransactionError", text.to_owned()))
            }
        }
    }

    /// Works on the open transaction.
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Inner) -> Outcome<R> + Send,
    ) -> PyResult<R> {
        admit_change()?;
        let mut tx = self.take()?;
        let result = quick(py, || work(&mut tx));
        self.replace(State::Open(tx));
        result
    }

    /// Returns the keys of ids, and gives new names keys.
    fn keys(&self, py: Python<'_>, ids: Ids) -> PyResult<Vec<u64>> {
        match ids {
            Ids::Keys(keys) => Ok(keys),
            Ids::Names(names) => self.with(py, |tx| {
                names.iter().map(|name| Ok(tx.name_or_insert(name)?)).collect::<Outcome<Vec<u64>>>()
            }),
        }
    }

    /// Returns the key of a key or a name.
    fn key(&self, value: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        match Id::new(value)? {
            Id::Key(key) => Ok(Some(key)),
            Id::Name(name) => self.with(value.py(), |tx| Ok(tx.key_of(&name)?)),
        }
    }

    fn needed_key(&self, value: &Bound<'_, PyAny>) -> PyResult<u64> {
        Ok(self.key(value)?.ok_or_else(|| {
            Fault::Own("NotFoundError", format!("no key has the name {}", value.as_any()))
        })?)
    }

    fn upsert_rows(
        &self,
        py: Python<'_>,
        keys: &[u64],
        vectors: &Vectors<'_>,
        payloads: &[Option<Vec<u8>>],
        attributes: Vec<Option<Attributes>>,
    ) -> PyResult<()> {
        let view = vectors.view()?;
        let elements = if vectors.shape.is_some() { self.shape.elements() } else { view.len() };
        for (at, keys) in keys.chunks(CHUNK).enumerate() {
            let rows = part(&view, elements, at * CHUNK, keys.len())?;
            let payloads = payloads.get(at * CHUNK..).unwrap_or_default();
            self.with(py, |tx| {
                tx.upsert_batch(keys, &rows)?;
                for (&key, payload) in keys.iter().zip(payloads) {
                    if let Some(payload) = payload {
                        tx.put_payload(key, payload)?;
                    }
                }
                Ok(())
            })?;
            py.check_signals()?;
        }
        let set = keys.iter().zip(attributes).filter_map(|(key, value)| Some((*key, value?)));
        let set: Vec<(u64, Attributes)> = set.collect();
        self.with(py, |tx| Ok(set.into_iter().try_for_each(|(key, value)| tx.set(key, value))?))
    }

    fn end(&self) -> State {
        let state = self.replace(State::Ended);
        if matches!(state, State::Open(_)) {
            self.holder.set(None);
        }
        state
    }
}

#[pymethods]
impl Transaction {
    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().begin(slf.py())?;
        Ok(slf)
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        class: Option<&Bound<'_, PyType>>,
        _value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        if class.is_some() {
            self.rollback(py)?;
        } else if !matches!(
            *self.state.lock().unwrap_or_else(PoisonError::into_inner),
            State::Ended
        ) {
            self.commit(py)?;
        }
        Ok(false)
    }

    /// Makes the changes safe, then visible. Returns the number of the commit. A commit that has begun is not interrupted.
    fn commit(&self, py: Python<'_>) -> PyResult<u64> {
        admit_change()?;
        let tx = self.take()?;
        let result = quick(py, || Ok(tx.commit()?));
        self.replace(State::Ended);
        self.holder.set(None);
        result
    }

    /// Drops the changes. Does nothing after the end of the transaction.
    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        let state = self.end();
        py.detach(|| drop(state));
        Ok(())
    }

    /// Sets the vector of a key or a name, and with it a payload (bytes) and attributes (a dict), if given; or those of many, as
    /// lists. Returns the key, or the keys as an array.
    #[pyo3(signature = (keys, vectors, *, payload=None, attributes=None))]
    fn upsert<'py>(
        &self,
        keys: &Bound<'py, PyAny>,
        vectors: &Bound<'py, PyAny>,
        payload: Option<&Bound<'py, PyAny>>,
        attributes: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = keys.py();
        let is_one = is_one_id(keys)?;
        let vectors = self::vectors(vectors)?;
        let count = vectors.count(self.shape.elements(), self.shape.dimension)?;
        if is_one {
            if vectors.shape.is_some_and(|(rows, _)| rows != 1) {
                return Err(invalid(format!("1 key given for {count} vectors")).into());
            }
            let payload = payload.map(self::payload).transpose()?;
            let attributes = attributes.map(self::attributes).transpose()?;
            let view = vectors.view()?;
            let id = Id::new(keys)?;
            let key = self.with(py, |tx| {
                let key = match id {
                    Id::Key(key) => key,
                    Id::Name(name) => tx.name_or_insert(&name)?,
                };
                tx.upsert(key, &view)?;
                if let Some(payload) = payload {
                    tx.put_payload(key, &payload)?;
                }
                if let Some(attributes) = attributes {
                    tx.set(key, attributes)?;
                }
                Ok(key)
            })?;
            return Ok(key.into_pyobject(py)?.into_any());
        }
        let ids = Ids::new(keys)?;
        if ids.len() != count {
            return Err(invalid(format!("{} keys given for {count} vectors", ids.len())).into());
        }
        let payloads = each(payload, count, "payload", self::payload)?;
        let attributes = each(attributes, count, "attributes", self::attributes)?;
        let keys = self.keys(py, ids)?;
        self.upsert_rows(py, &keys, &vectors, &payloads, attributes)?;
        Ok(keys.into_pyarray(py).into_any())
    }

    /// Removes the vector of a key or a name, or of each of many, with payload and attributes. Returns the number of removed vectors.
    fn remove(&self, keys: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = keys.py();
        let is_one = is_one_id(keys)?;
        if is_one {
            let Some(key) = self.key(keys)? else { return Ok(0) };
            return self.with(py, |tx| Ok(usize::from(tx.remove(key)?)));
        }
        let ids = Ids::new(keys)?;
        self.with(py, |tx| {
            let mut removed = 0;
            match ids {
                Ids::Keys(keys) => {
                    for key in keys {
                        removed += usize::from(tx.remove(key)?);
                    }
                }
                Ids::Names(names) => {
                    for name in names {
                        if let Some(key) = tx.key_of(&name)? {
                            removed += usize::from(tx.remove(key)?);
                        }
                    }
                }
            }
            Ok(removed)
        })
    }

    /// Removes the vectors of all keys for which a predicate is true. Returns their number.
    fn remove_where(&self, predicate: &Bound<'_, PyAny>) -> PyResult<usize> {
        let needed = needed(predicate)?;
        self.with(predicate.py(), |tx| Ok(tx.remove_where(&needed)?))
    }

    /// Sets the payload of a key or a name that has a vector.
    fn put_payload(&self, key: &Bound<'_, PyAny>, payload: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = key.py();
        let payload = self::payload(payload)?;
        let key = self.needed_key(key)?;
        self.with(py, |tx| Ok(tx.put_payload(key, &payload)?))
    }

    /// Removes the payload of a key or a name. Returns whether it had one.
    fn remove_payload(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = key.py();
        let Some(key) = self.key(key)? else { return Ok(false) };
        self.with(py, |tx| Ok(tx.remove_payload(key)?))
    }

    /// The payload of a key or a name, with the changes of this transaction; or None.
    fn payload<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let py = key.py();
        let Some(key) = self.key(key)? else { return Ok(None) };
        let payload = self.with(py, |tx| Ok(tx.payload(key)?))?;
        Ok(payload.map(|payload| PyBytes::new(py, &payload)))
    }

    /// Sets the attributes of a key or a name that has a vector, in place of those that it has.
    fn set_attributes(
        &self,
        key: &Bound<'_, PyAny>,
        attributes: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let attributes = self::attributes(attributes)?;
        let py = key.py();
        let key = self.needed_key(key)?;
        self.with(py, |tx| Ok(tx.set(key, attributes)?))
    }

    /// Removes the attributes of a key or a name. Returns whether it had some.
    fn remove_attributes(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = key.py();
        let Some(key) = self.key(key)? else { return Ok(false) };
        self.with(py, |tx| Ok(tx.remove_attributes(key)?))
    }

    /// The attributes of a key or a name, with the changes of this transaction, as a dict; empty if it has none.
    fn attributes<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let py = key.py();
        let Some(key) = self.key(key)? else { return Ok(PyDict::new(py)) };
        match self.with(py, |tx| Ok(tx.attributes(key)?))? {
            Some(attributes) => dict(py, &attributes),
            None => Ok(PyDict::new(py)),
        }
    }

    /// The key of a name, also one that this transaction gave; or None.
    fn key_of(&self, name: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        match Id::new(name)? {
            Id::Key(_) => Err(mistyped("a name is str or bytes, not int").into()),
            Id::Name(name_bytes) => self.with(name.py(), |tx| Ok(tx.key_of(&name_bytes)?)),
        }
    }

    /// The keys for which a predicate is true, with the changes of this transaction.
    fn matching(&self, predicate: &Bound<'_, PyAny>) -> PyResult<Selection> {
        let needed = needed(predicate)?;
        let selected = self.with(predicate.py(), |tx| Ok(tx.matching(&needed)?))?;
        Ok(Selection { selected: Arc::new(selected) })
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = key.py();
        let Some(key) = self.key(key)? else { return Ok(false) };
        self.with(py, |tx| Ok(tx.contains(key)))
    }

    fn __repr__(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = match *state {
            State::Fresh(_) => "not begun",
            State::Open(_) | State::Busy => "open",
            State::Ended => "ended",
        };
        format!("<nearfield.Transaction, {state}>")
    }
}
