//! Between the client's header map and our own headers.

use async_nats::HeaderMap;
use rota_wire::Headers;

pub(crate) fn to_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter() {
        map.append(name, value);
    }
    map
}

/// The map has no order, so headers come sorted by name: what is read twice reads the same.
pub(crate) fn from_map(map: Option<&HeaderMap>) -> Headers {
    let Some(map) = map else {
        return Headers::new();
    };
    let mut pairs: Vec<(&str, &str)> = map
        .iter()
        .flat_map(|(name, values)| {
            values
                .iter()
                .map(move |v| (AsRef::<str>::as_ref(name), v.as_str()))
        })
        .collect();
    pairs.sort_unstable_by_key(|(name, _)| *name);
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
