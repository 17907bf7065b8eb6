//! Questions to all nodes (engines.md 1.8): asking, and answering what others ask.
//!
//! A question waits for the nodes that are known when it is asked, until a deadline; who leaves meanwhile is not waited
//! for. Every question of another node is answered, also an unknown one: the asker would wait for us.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use super::{
    Error, Shared,
    emulation::{EmulationError, UnknownSession},
    pattern::Pattern,
};
use crate::{
    engine::wire::survey as wire,
    model::{Control, NodeId, SurveyRequest, SurveyResponse},
    protocol::EmulationRequest,
};

/// The survey of channels with subscribers.
pub(super) const CHANNELS: &str = "channels";
/// A frame for an emulated session of another node.
pub(super) const EMULATION: &str = "centrifuge_emulation";

/// A question has its answers by then.
const DEADLINE: Duration = Duration::from_secs(10);
/// Questions under way; more wait for their turn within the deadline.
const QUESTIONS: usize = 64;
/// Frames under way to other nodes; one more is refused.
const FRAMES: usize = 4096;

/// There was no answer because of the node.
const INTERNAL: u32 = 1;
/// There was no answer because of the question.
const BAD_REQUEST: u32 = 2;
/// Nobody knows such a question.
const UNKNOWN: u32 = 3;

/// Questions under way.
#[derive(Debug)]
pub(super) struct Surveys {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
    places: Semaphore,
    frames: Semaphore,
}

/// A question that waits for answers.
#[derive(Debug)]
struct Open {
    missing: HashSet<NodeId>,
    answers: HashMap<NodeId, SurveyResponse>,
    /// Taken when nobody is missing any more.
    done: Option<oneshot::Sender<()>>,
}

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Audience<'a> {
    /// All other nodes.
    Others,
    /// One node.
    One(&'a NodeId),
}

impl Surveys {
    pub(super) fn new() -> Self {
        Self {
            last: AtomicU64::new(0),
            open: Mutex::default(),
            places: Semaphore::new(QUESTIONS),
            frames: Semaphore::new(FRAMES),
        }
    }

    /// A node has answered; false when nobody waits for it.
    pub(super) fn answered(&self, from: NodeId, response: SurveyResponse) -> bool {
        let mut open = self.open.lock();
        let Some(question) = open.get_mut(&response.id) else {
            return false;
        };
        // Only who was asked, and only once: a counterfeit does not fill the memory.
        if !question.missing.remove(&from) {
            return false;
        }
        question.answers.insert(from, response);
        question.settle();
        true
    }

    /// A node has left: its answer does not come any more.
    pub(super) fn gone(&self, node: &NodeId) {
        for question in self.open.lock().values_mut() {
            question.missing.remove(node);
            question.settle();
        }
    }
}

impl Open {
    fn settle(&mut self) {
        if self.missing.is_empty()
            && let Some(done) = self.done.take()
        {
            // The asker may have given up.
            let _gave_up = done.send(());
        }
    }
}

/// Forgets a question, however it ends.
struct Asked<'a> {
    surveys: &'a Surveys,
    id: u64,
}

impl Asked<'_> {
    fn take(&self) -> Option<Open> {
        self.surveys.open.lock().remove(&self.id)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.take();
    }
}

/// Asks other nodes; all of them answer, or it fails.
///
/// # Errors
/// 100 when a node did not answer in time or has no answer, or the question could not be spread.
pub(super) async fn ask(
    shared: &Shared,
    op: &str,
    data: Bytes,
    audience: Audience<'_>,
) -> Result<Vec<Bytes>, Error> {
    let deadline = Instant::now() + DEADLINE;
    let surveys = &shared.surveys;
    let Ok(Ok(_place)) = timeout_at(deadline, surveys.places.acquire()).await else {
        tracing::error!(op, "too many surveys at a time");
        return Err(Error::Internal(None));
    };
    values(op, collect(shared, (op, data), audience, deadline).await?)
}

/// Gives a frame to the node that its session is on.
///
/// # Errors
/// When that node does not take it, is gone, or does not answer in time.
pub(super) async fn forward(
    shared: &Shared,
    node: &NodeId,
    request: &EmulationRequest,
) -> Result<(), EmulationError> {
    let undelivered = |_error| EmulationError::Undelivered;
    let _place = shared.surveys.frames.try_acquire().map_err(|_full| {
        tracing::error!(%node, "too many frames under way to other nodes");
        EmulationError::Undelivered
    })?;
    let data = wire::encode_emulation(&request.node, &request.session, request.data.clone());
    let deadline = Instant::now() + DEADLINE;
    let answers = collect(shared, (EMULATION, data), Audience::One(node), deadline);
    let answers = answers.await.map_err(undelivered)?;
    match answers.get(node).map(|answer| answer.code) {
        // There is no such session there: nothing happens.
        Some(0 | BAD_REQUEST) => Ok(()),
        _ => Err(EmulationError::Undelivered),
    }
}

/// Asks, and waits for the answers of all who are there until the end.
async fn collect(
    shared: &Shared,
    (op, data): (&str, Bytes),
    audience: Audience<'_>,
    deadline: Instant,
) -> Result<HashMap<NodeId, SurveyResponse>, Error> {
    let (missing, to): (HashSet<_>, _) = match audience {
        Audience::Others => (shared.nodes.ids().into_iter().collect(), None),
        Audience::One(node) => (HashSet::from([node.clone()]), Some(node)),
    };
    if missing.is_empty() {
        return Ok(HashMap::new());
    }
    let surveys = &shared.surveys;
    let id = surveys.last.fetch_add(1, Ordering::Relaxed) + 1;
    let (done, all) = oneshot::channel();
    let question = Open {
        missing,
        answers: HashMap::new(),
        done: Some(done),
    };
    surveys.open.lock().insert(id, question);
    let asked = Asked { surveys, id };
    let request = Control::SurveyRequest(SurveyRequest {
        id,
        op: op.to_owned(),
        data,
    });
    let answered = async {
        shared.say(to, &request).await?;
        // An error means that the sender is gone, and it goes with the question only.
        Ok(all.await.is_ok())
    };
    let in_time = timeout_at(deadline, answered).await;
    let Some(Open {
        missing, answers, ..
    }) = asked.take()
    else {
        return Err(Error::Internal(None));
    };
    match in_time {
        Ok(Ok(_)) => Ok(answers),
        Ok(Err(error)) => Err(Error::Internal(Some(error))),
        Err(_elapsed) => {
            tracing::error!(op, ?missing, "nodes did not answer a survey in time");
            Err(Error::Internal(None))
        }
    }
}

fn values(op: &str, answers: HashMap<NodeId, SurveyResponse>) -> Result<Vec<Bytes>, Error> {
    let mut values = Vec::with_capacity(answers.len());
    for (node, answer) in answers {
        if answer.code != 0 {
            tracing::error!(op, %node, code = answer.code, "a node has no answer to a survey");
            return Err(Error::Internal(None));
        }
        values.push(answer.data);
    }
    Ok(values)
}

/// What this node answers to the question of another one.
pub(super) async fn answer(shared: &Shared, request: SurveyRequest) -> SurveyResponse {
    let answer = match request.op.as_str() {
        CHANNELS => channels(shared, request.data),
        EMULATION => emulation(shared, request.data).await,
        _ => Err(UNKNOWN),
    };
    let (code, data) = match answer {
        Ok(data) => (0, data),
        Err(code) => (code, Bytes::new()),
    };
    SurveyResponse {
        id: request.id,
        code,
        data,
    }
}

fn channels(shared: &Shared, data: Bytes) -> Result<Bytes, u32> {
    let pattern = wire::decode_pattern(data).ok_or(BAD_REQUEST)?;
    let pattern = Pattern::new(&pattern).map_err(|_malformed| BAD_REQUEST)?;
    Ok(wire::encode_channels(shared.local_channels(&pattern)))
}

/// Gives a frame to a session of this node. Who asks wants to know when its commands are processed.
async fn emulation(shared: &Shared, data: Bytes) -> Result<Bytes, u32> {
    let (session, data) = wire::decode_emulation(data).ok_or(INTERNAL)?;
    match shared.emulated.post(&session, data).await {
        Ok(Ok(())) => Ok(Bytes::new()),
        Ok(Err(_undelivered)) => Err(INTERNAL),
        Err(UnknownSession) => Err(BAD_REQUEST),
    }
}

#[cfg(test)]
impl Surveys {
    /// No question is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.open.lock().is_empty()
            && self.frames.available_permits() == FRAMES
            && self.places.available_permits() == QUESTIONS
    }
}
