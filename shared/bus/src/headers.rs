//! Between the client's header map and our own headers.

use std::borrow::Cow;

use async_nats::HeaderMap;
use rota_wire::Headers;
use rota_wire::headers::{
    ATTEMPT, ATTEMPTS, BACKOFF, CPU, DURATION, ID, MEMORY, MSG_ID, PRIORITY, RECHECK, REQUIRES,
    SUBMITTED, TIMEOUT, TRACEPARENT, VERSION,
};

/// The names that task messages have: they need no memory of their own.
const KNOWN: [&str; 15] = [
    ID,
    SUBMITTED,
    ATTEMPT,
    RECHECK,
    VERSION,
    PRIORITY,
    TIMEOUT,
    ATTEMPTS,
    BACKOFF,
    CPU,
    MEMORY,
    REQUIRES,
    DURATION,
    TRACEPARENT,
    MSG_ID,
];

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
    pairs.sort_by_key(|(name, _)| *name);
    pairs
        .into_iter()
        .map(|(name, value)| (owned(name), value))
        .collect()
}

fn owned(name: &str) -> Cow<'static, str> {
    match KNOWN.iter().find(|known| **known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_sorted_and_several_of_one_name_in_their_order() {
        let given: Headers = [(SUBMITTED, "b"), ("Mine", "2"), (ID, "a"), ("Mine", "1")]
            .into_iter()
            .collect();
        let read = from_map(Some(&to_map(&given)));
        let pairs: Vec<_> = read.iter().collect();
        assert_eq!(
            pairs,
            [("Mine", "2"), ("Mine", "1"), (ID, "a"), (SUBMITTED, "b")]
        );
    }
}
