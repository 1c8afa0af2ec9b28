//! Answers to the question why a task is where it is.

use rota_bus::{Bus, Message, Subject};
use rota_wire::TaskId;
use rota_wire::explain::Explanation;
use tracing::warn;

/// With what the core knows; what it has not got may have ended, or may still lie in a stream.
pub(super) async fn answer(
    bus: &Bus,
    task: TaskId,
    known: Option<Box<Explanation>>,
    reply: Subject,
) {
    let explanation = match known {
        Some(known) => *known,
        None => unknown(bus, task).await,
    };
    let body = serde_json::to_vec(&explanation).expect("an explanation is plain data");
    if let Err(error) = bus.send(Message::new(reply, body.into())).await {
        warn!(task = %explanation.task, error = %rota_service::chain(&error), "explanation not sent");
    }
}

async fn unknown(bus: &Bus, task: TaskId) -> Explanation {
    let why = match bus.result(&task).await {
        Ok(Some(found)) => match found.result {
            Some(result) => format!("it has ended: {}", result.state),
            None => "somebody else wrote where its result belongs; the true one will replace that"
                .to_owned(),
        },
        Ok(None) => {
            "the scheduler has not read it: it waits in the stream behind tasks of its kind and priority, \
             or no live worker handles its kind, or it is scheduled for later, or there is no such task"
                .to_owned()
        }
        Err(error) => format!(
            "its result cannot be looked up: {}",
            rota_service::chain(&error)
        ),
    };
    Explanation {
        task,
        state: "unknown".to_owned(),
        why,
        known: None,
        decision: None,
        candidates: Vec::new(),
        others: 0,
    }
}
