//! Changes to TOML by path, as forms make them: comments, order and the way of writing stay as the person left them.
//!
//! A path goes by keys; an entry of a list is named by its `name` or `id`, or by its number. The list of all `[[adapter]]` or
//! `[[upstream]]` sections lies over several files: the entry's name tells the file. Pure: texts in, texts out.

use serde_json::Value as Json;
use tidegate_webui::shape::Edit;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use crate::config::draft::Draft;

/// Deepest value that is set: deeper than any section of ours.
const DEEPEST: usize = 12;

/// What is wrong with a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EditError {
    /// Which key of the change.
    pub(super) key: &'static str,
    /// What is wrong.
    pub(super) what: String,
    /// What to do.
    pub(super) next: &'static str,
}

fn wrong(key: &'static str, what: impl Into<String>, next: &'static str) -> EditError {
    EditError { key, what: what.into(), next }
}

/// Carries one change out.
pub(super) fn apply(files: &mut Vec<Draft>, main: &str, edit: &Edit) -> Result<(), EditError> {
    let actions = usize::from(edit.set.is_some()) + usize::from(edit.remove) + usize::from(edit.append.is_some());
    if actions != 1 {
        return Err(wrong("at", "needs exactly one of set, remove and append", "name one"));
    }
    let Some(first) = edit.at.first().and_then(Json::as_str) else {
        return Err(wrong("at", "does not begin with a key", "begin with a section, such as \"log\" or \"adapter\""));
    };
    let is_list = matches!(first, "adapter" | "upstream");
    let (name, skip) = match (is_list, edit.at.get(1)) {
        (true, Some(step)) => locate(files, first, step)?,
        (true, None) => (edit.file.clone().unwrap_or_else(|| main.to_owned()), None),
        _ => (main.to_owned(), None),
    };
    if !files.iter().any(|file| file.name == name) {
        files.push(Draft { name: name.clone(), text: String::new() });
    }
    let Some(file) = files.iter_mut().find(|file| file.name == name) else { return Ok(()) };
    let parsed = file.text.parse::<DocumentMut>();
    let mut document =
        parsed.map_err(|error| wrong("at", format!("{name} is not TOML: {}", error.message()), "mend the file as text first"))?;
    let mut path = edit.at.clone();
    if let Some(number) = skip {
        path[1] = Json::from(number);
    }
    change(document.as_item_mut(), &path, edit)?;
    file.text = document.to_string();
    Ok(())
}

/// The file that holds an entry of a list, and its number there.
fn locate(files: &[Draft], list: &str, step: &Json) -> Result<(String, Option<usize>), EditError> {
    let mut before = 0;
    for file in files {
        let Ok(document) = file.text.parse::<DocumentMut>() else { continue };
        let Some(entries) = document.get(list) else { continue };
        if let Some(at) = find(entries, step, before) {
            return Ok((file.name.clone(), Some(at)));
        }
        before += count(entries);
    }
    Err(wrong("at", format!("there is no {list} {step}"), "name one that is configured"))
}

fn count(list: &Item) -> usize {
    list.as_array_of_tables().map(ArrayOfTables::len).or_else(|| list.as_array().map(Array::len)).unwrap_or(0)
}

/// The number of an entry in a list, by name, id or number; numbers count from `before`.
fn find(list: &Item, step: &Json, before: usize) -> Option<usize> {
    let count = count(list);
    if let Some(number) = step.as_u64() {
        let at = usize::try_from(number).ok()?.checked_sub(before)?;
        return (at < count).then_some(at);
    }
    let named = step.as_str()?;
    let is = |value: Option<&Item>| value.and_then(Item::as_str) == Some(named);
    (0..count).find(|at| match list.as_array_of_tables() {
        Some(tables) => tables.get(*at).is_some_and(|table| is(table.get("name")) || is(table.get("id"))),
        None => list.as_array().and_then(|array| array.get(*at)).and_then(Value::as_inline_table).is_some_and(|table| {
            let is = |key: &str| table.get(key).and_then(Value::as_str) == Some(named);
            is("name") || is("id")
        }),
    })
}

/// Takes an entry out of a list. A comment behind the entry before it belongs to that one, and stays: TOML's reader hands it to the
/// entry that follows.
fn take_out(array: &mut Array, at: usize) {
    let gone = array.remove(at);
    let text = |raw: Option<&toml_edit::RawString>| raw.and_then(|raw| raw.as_str()).unwrap_or_default().to_owned();
    let prefix = text(gone.decor().prefix());
    let Some((behind, _)) = prefix.split_once('\n').filter(|(behind, _)| behind.contains('#')) else { return };
    match array.get_mut(at) {
        Some(next) => {
            let own = text(next.decor().prefix());
            let rest = own.split_once('\n').map_or(own.as_str(), |(_, rest)| rest);
            next.decor_mut().set_prefix(format!("{behind}\n{rest}"));
        }
        None => {
            let own = text(Some(array.trailing()));
            let rest = own.split_once('\n').map_or(own.as_str(), |(_, rest)| rest).to_owned();
            array.set_trailing(format!("{behind}\n{rest}"));
        }
    }
}

fn nowhere(step: &Json) -> EditError {
    wrong("at", format!("leads nowhere at {step}"), "compare it with the configuration's sections")
}

fn change(item: &mut Item, path: &[Json], edit: &Edit) -> Result<(), EditError> {
    let Some((step, rest)) = path.split_first() else {
        let Some(entry) = &edit.append else { return Err(wrong("at", "names the whole file", "name a key in it")) };
        return append(item, entry);
    };
    let is_last = rest.is_empty() && edit.append.is_none();
    if item.is_array_of_tables() || item.is_array() {
        let at = find(item, step, 0).ok_or_else(|| nowhere(step))?;
        if is_last && edit.remove {
            match item.as_array_of_tables_mut() {
                Some(tables) => drop(tables.remove(at)),
                None => item.as_array_mut().map_or((), |array| take_out(array, at)),
            }
            return Ok(());
        }
        return match item.as_array_of_tables_mut() {
            Some(tables) => {
                let table = tables.get_mut(at).ok_or_else(|| nowhere(step))?;
                let mut inner = Item::Table(std::mem::take(table));
                let done = if is_last { set_table(&mut inner, edit) } else { change(&mut inner, rest, edit) };
                if let Item::Table(changed) = inner {
                    *table = changed;
                }
                done
            }
            None => {
                let slot = item.as_array_mut().and_then(|array| array.get_mut(at)).ok_or_else(|| nowhere(step))?;
                let mut inner = Item::Value(slot.clone());
                if is_last {
                    replace(&mut inner, edit)?;
                } else {
                    change(&mut inner, rest, edit)?;
                }
                if let Item::Value(changed) = inner {
                    *slot = changed;
                }
                Ok(())
            }
        };
    }
    let key = step.as_str().filter(|key| !key.is_empty() && key.len() <= 64).ok_or_else(|| nowhere(step))?;
    if item.is_none() {
        *item = Item::Table(Table::new());
    }
    let table = item.as_table_like_mut().ok_or_else(|| nowhere(step))?;
    if is_last && edit.remove {
        return table.remove(key).map(drop).ok_or_else(|| nowhere(step));
    }
    if !table.contains_key(key) {
        let fresh = match (&edit.append, rest.is_empty()) {
            (Some(entry), true) => {
                Some(if entry.is_object() { Item::ArrayOfTables(ArrayOfTables::new()) } else { Item::Value(Array::new().into()) })
            }
            (None, true) => None,
            _ => Some(Item::Table(Table::new())),
        };
        match fresh {
            None => return edit.set.as_ref().map_or(Ok(()), |set| table.insert(key, to_item(set, 0)?).map_or(Ok(()), |_| Ok(()))),
            Some(fresh) => drop(table.insert(key, fresh)),
        }
    }
    let inner = table.get_mut(key).ok_or_else(|| nowhere(step))?;
    if is_last { replace(inner, edit) } else { change(inner, rest, edit) }
}

/// A whole section by another, where it stands, with its comments.
fn set_table(item: &mut Item, edit: &Edit) -> Result<(), EditError> {
    let (Some(Json::Object(set)), Item::Table(table)) = (&edit.set, item) else {
        return Err(wrong("set", "is not a section", "give an object"));
    };
    let gone: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).filter(|key| !set.contains_key(key)).collect();
    gone.iter().for_each(|key| drop(table.remove(key)));
    for (key, value) in set.iter().filter(|(key, _)| *key != "_file") {
        match table.get_mut(key) {
            Some(old) => replace(old, &Edit { at: vec![], set: Some(value.clone()), remove: false, append: None, file: None })?,
            None => drop(table.insert(key, to_item(value, 0)?)),
        }
    }
    Ok(())
}

/// A value by another, with the space and comment around it.
fn replace(item: &mut Item, edit: &Edit) -> Result<(), EditError> {
    let Some(set) = &edit.set else { return Ok(()) };
    // Written as it was, a value stays as it was: 0x10 does not become 16.
    if item.is_table() && set.is_object() {
        return set_table(item, edit);
    }
    let fresh = to_item(set, 0)?;
    match (item.as_value_mut(), fresh) {
        (Some(old), Item::Value(mut new)) => {
            *new.decor_mut() = old.decor().clone();
            if same(old, set) {
                return Ok(());
            }
            *old = new;
        }
        (_, fresh) => *item = fresh,
    }
    Ok(())
}

fn same(old: &Value, new: &Json) -> bool {
    match old {
        Value::String(text) => new.as_str() == Some(text.value()),
        Value::Integer(number) => new.as_i64() == Some(*number.value()),
        Value::Float(number) => new.is_f64() && new.as_f64() == Some(*number.value()),
        Value::Boolean(bit) => new.as_bool() == Some(*bit.value()),
        _ => false,
    }
}

fn append(item: &mut Item, entry: &Json) -> Result<(), EditError> {
    let bad = || wrong("append", "does not fit into this list", "give an object for a list of sections");
    if let Some(tables) = item.as_array_of_tables_mut() {
        let Item::Table(table) = to_item(entry, 0)? else { return Err(bad()) };
        tables.push(table);
        return Ok(());
    }
    let array = item.as_array_mut().ok_or_else(|| wrong("at", "is not a list", "append to a list"))?;
    // Each on a line of its own, if those before are.
    let decor = array.iter().last().map(|last| last.decor().clone());
    let mut value = to_value(entry, 0)?;
    if let Some(decor) = decor.filter(|decor| decor.prefix().and_then(|prefix| prefix.as_str()).is_some_and(|text| text.contains('\n'))) {
        *value.decor_mut() = decor;
        array.push_formatted(value);
    } else {
        array.push(value);
    }
    Ok(())
}

/// An object becomes a table, a list of objects a list of tables, anything else a value.
fn to_item(json: &Json, depth: usize) -> Result<Item, EditError> {
    if depth > DEEPEST {
        return Err(wrong("set", "is nested too deep", "no section is that deep"));
    }
    match json {
        Json::Object(object) => {
            let mut table = Table::new();
            for (key, value) in object.iter().filter(|(key, value)| *key != "_file" && !value.is_null()) {
                table.insert(key, to_item(value, depth + 1)?);
            }
            Ok(Item::Table(table))
        }
        Json::Array(list) if !list.is_empty() && list.iter().all(Json::is_object) => {
            let mut tables = ArrayOfTables::new();
            for entry in list {
                if let Item::Table(table) = to_item(entry, depth + 1)? {
                    tables.push(table);
                }
            }
            Ok(Item::ArrayOfTables(tables))
        }
        other => to_value(other, depth).map(Item::Value),
    }
}

fn to_value(json: &Json, depth: usize) -> Result<Value, EditError> {
    if depth > DEEPEST {
        return Err(wrong("set", "is nested too deep", "no section is that deep"));
    }
    Ok(match json {
        Json::Null => return Err(wrong("set", "is null", "use remove to take a value away")),
        Json::Bool(bit) => (*bit).into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(real)) if !number.is_u64() => real.into(),
            _ => return Err(wrong("set", "is a number that TOML cannot hold", "use a smaller one")),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(list) => {
            let values: Result<Vec<Value>, _> = list.iter().map(|value| to_value(value, depth + 1)).collect();
            Value::Array(Array::from_iter(values?))
        }
        Json::Object(object) => {
            let mut table = InlineTable::new();
            for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
                table.insert(key, to_value(value, depth + 1)?);
            }
            Value::InlineTable(table)
        }
    })
}

#[cfg(test)]
mod tests;
