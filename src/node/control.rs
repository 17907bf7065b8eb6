//! What nodes tell each other: saying it, and doing what others say (engines.md 1.8).
//!
//! Nothing is awaited where messages arrive: an answer is an [`Errand`] in a bounded queue, and one too many is counted
//! and dropped. The asker survives that: an announcement comes again, a survey has a deadline.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Error, Shared,
    registry::{self, Heard},
    survey,
};
use crate::{
    engine,
    hub::Mail,
    model::{
        Control, NodeId, NodeInfo, RecoveryMode, SubscribeCommand, SubscribeOptions, SurveyRequest,
    },
};

/// Answers that wait to be sent.
pub(super) const ERRANDS: usize = 1024;
/// Answers under way at a time.
const AT_A_TIME: usize = 8;
/// Frames for emulated sessions, passed on by other nodes, that wait.
pub(super) const POSTS: usize = 4096;
/// Those under way at a time: each waits for its own session, which may be slow.
const POSTS_AT_A_TIME: usize = 1024;

/// A frame for an emulated session, passed on by a node that waits for the answer.
pub(super) type Post = (NodeId, SurveyRequest);

/// Something to send because of a message.
#[derive(Debug)]
pub(super) enum Errand {
    /// Tell a newcomer of this node.
    Introduce(NodeId),
    /// Answer a question.
    Answer(NodeId, SurveyRequest),
}

/// Sends answers until the node stops.
pub(super) async fn run_errands(shared: Arc<Shared>, queue: mpsc::Receiver<Errand>) {
    let stop = shared.stop.clone();
    let errands = ReceiverStream::new(queue).for_each_concurrent(AT_A_TIME, move |errand| {
        run_errand(Arc::clone(&shared), errand)
    });
    stop.run_until_cancelled(errands).await;
}

/// Gives frames to their sessions until the node stops. They have a queue of their own, so that slow sessions hold up nothing
/// else that nodes tell each other; those of one session begin in the order they came.
pub(super) async fn run_posts(shared: Arc<Shared>, queue: mpsc::Receiver<Post>) {
    let stop = shared.stop.clone();
    let posts = ReceiverStream::new(queue).for_each_concurrent(POSTS_AT_A_TIME, move |post| {
        let (node, request) = post;
        run_errand(Arc::clone(&shared), Errand::Answer(node, request))
    });
    stop.run_until_cancelled(posts).await;
}

async fn run_errand(shared: Arc<Shared>, errand: Errand) {
    match errand {
        Errand::Introduce(node) => registry::announce(&shared, Some(&node)).await,
        Errand::Answer(node, request) => {
            let op = request.op.clone();
            let response = survey::answer(&shared, request).await;
            let answer = Control::SurveyResponse(response);
            if let Err(error) = shared.say(Some(&node), &answer).await {
                tracing::error!(%error, %node, op, "error answering a survey");
            }
        }
    }
}

impl Shared {
    /// Sends a message to one node or to all others.
    pub(super) async fn say(
        &self,
        to: Option<&NodeId>,
        message: &Control,
    ) -> Result<(), engine::Error> {
        let sent = &self.metrics.broker.sent;
        sent.with_label_values(&["control", ""]).inc();
        self.engine.control.send(to, message).await
    }

    /// Tells the other nodes, then does it here (engines.md 1.8).
    pub(super) async fn control(&self, command: Control) -> Result<(), Error> {
        self.say(None, &command).await?;
        if let Control::Subscribe(target, subscribe) = &command
            && has_passed(subscribe)
            && !self.connections.find(target).is_empty()
        {
            // An expiration in the past fails where a connection would be hit by it (server-api.md 8.3).
            return Err(Error::Internal(None));
        }
        self.carry_out(&command);
        Ok(())
    }

    /// Another node says something.
    pub(super) fn told(&self, from: NodeId, message: Control) {
        let received = &self.metrics.broker.received;
        received.with_label_values(&["control", ""]).inc();
        match message {
            Control::Subscribe(target, command) => {
                if command.channel.is_empty() {
                    return self.metrics.control_dropped("channel");
                }
                let command = Box::new(self.resolved(*command));
                self.carry_out(&Control::Subscribe(target, command));
            }
            Control::Unsubscribe(..) | Control::Disconnect(..) | Control::Refresh(..) => {
                self.carry_out(&message);
            }
            Control::Node(info) => self.heard(*info),
            Control::Shutdown => {
                self.nodes.forget(&from);
                self.surveys.gone(&from);
            }
            Control::SurveyRequest(request) if request.op == survey::EMULATION => {
                if self.posts.try_send((from, request)).is_err() {
                    self.metrics.control_dropped("queue");
                }
            }
            Control::SurveyRequest(request) => self.later(Errand::Answer(from, request)),
            Control::SurveyResponse(response) => {
                if !self.surveys.answered(from, response) {
                    self.metrics.control_dropped("answer");
                }
            }
            Control::Notification(note) => tracing::trace!(%from, op = note.op, "notification"),
        }
    }

    fn heard(&self, info: NodeInfo) {
        if info.uid == *self.id() {
            return;
        }
        let uid = info.uid.clone();
        match self.nodes.heard(info) {
            Heard::Newcomer => self.later(Errand::Introduce(uid)),
            Heard::Known => {}
            Heard::Refused => self.metrics.control_dropped("nodes"),
        }
    }

    fn later(&self, errand: Errand) {
        if self.errands.try_send(errand).is_err() {
            self.metrics.control_dropped("queue");
        }
    }

    /// What a message between nodes does not carry comes from the namespace, as it is known here.
    pub(super) fn resolved(&self, command: SubscribeCommand) -> SubscribeCommand {
        let namespace = self.hooks.channel(&command.channel);
        let namespace = namespace.map(|options| options.subscribe.clone());
        let carried = command.options;
        let options = SubscribeOptions {
            presence: carried.presence,
            join_leave: carried.join_leave,
            push_join_leave: carried.push_join_leave,
            positioned: carried.positioned || carried.recoverable,
            recoverable: carried.recoverable,
            recovery_mode: RecoveryMode::Stream,
            auto_cache_recover: false,
            expire_at: carried.expire_at,
            info: carried.info,
            data: carried.data,
            source: carried.source,
            ..namespace.unwrap_or_default()
        };
        SubscribeCommand { options, ..command }
    }

    /// Does an action on the connections of this node.
    fn carry_out(&self, command: &Control) {
        let (target, mail): (_, &dyn Fn() -> Mail) = match command {
            // Nobody is subscribed to what has expired.
            Control::Subscribe(_, subscribe) if has_passed(subscribe) => return,
            Control::Subscribe(target, subscribe) => {
                (target, &|| Mail::Subscribe(subscribe.clone()))
            }
            Control::Unsubscribe(target, channel, why) => {
                (target, &|| Mail::Unsubscribe(channel.clone(), why.clone()))
            }
            Control::Refresh(target, refresh) => {
                (target, &|| Mail::Refresh(Box::new(refresh.clone())))
            }
            Control::Disconnect(target, why, keep) => {
                let found = self.connections.find(target).into_iter();
                found
                    .filter(|(client, _)| !keep.contains(client))
                    .for_each(|(_, mailbox)| mailbox.close(why.clone()));
                return;
            }
            Control::Node(_)
            | Control::Shutdown
            | Control::SurveyRequest(_)
            | Control::SurveyResponse(_)
            | Control::Notification(_) => return,
        };
        for (client, mailbox) in self.connections.find(target) {
            if mailbox.push(mail()).is_err() {
                tracing::debug!(%client, "control command for a connection that is about to end");
            }
        }
    }
}

fn has_passed(subscribe: &SubscribeCommand) -> bool {
    let expiration = subscribe.options.expire_at;
    expiration.is_some_and(|at| at <= Shared::now().unix())
}
