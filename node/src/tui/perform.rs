//! Performs effects: asks the node through its API and turns what comes back into inputs.

use std::time::Duration;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::api::client::{Client, ClientError, segment};
use crate::api::inbox::Thread;
use crate::api::people::{SetPetname, Verify};
use crate::api::search::Search;
use crate::api::types::{
    Appoint, CreateInvite, CreateRoom, JoinRoom, MarkRead, React, SendMessage, SendReport, SetHidden, SetName,
    SetSetting, Typing,
};
use crate::tui::effect::{Answer, Effect, Failure, Input, OrderAct, Outcome, PAGE_LEN, Page, PersonAct, Post, Posting};

/// Asks the node. Posts go one after the other, so that they arrive in the order in which they were written; all else
/// goes at once.
#[derive(Debug)]
pub struct Performer {
    client: Client,
    inputs: mpsc::Sender<Input>,
    posts: mpsc::Sender<Post>,
    poster: JoinHandle<Vec<String>>,
    tasks: JoinSet<()>,
}

impl Performer {
    /// Asks `client`'s node; what comes of it goes to `inputs`.
    pub fn new(client: Client, inputs: mpsc::Sender<Input>) -> Self {
        let (posts, queue) = mpsc::channel(POSTS_MAX);
        let poster = tokio::spawn(post_in_order(client.clone(), inputs.clone(), queue));
        Self { client, inputs, posts, poster, tasks: JoinSet::new() }
    }

    /// Begins an effect that the node is asked for.
    pub fn begin(&mut self, effect: Effect) {
        while self.tasks.try_join_next().is_some() {}
        if let Effect::Post(post) = effect {
            if let Err(full) = self.posts.try_send(post) {
                let failure = Failure { says: "Too much is waiting already.".to_owned(), outcome: Outcome::NotDone };
                let effect = Box::new(Effect::Post(full.into_inner()));
                self.answer(Input::Failed { effect, failure });
            }
            return;
        }
        let (client, inputs) = (self.client.clone(), self.inputs.clone());
        self.tasks.spawn(async move {
            let input = match ask(&client, &effect).await {
                Ok(answer) => Input::Answer(answer),
                Err(failure) => Input::Failed { effect: Box::new(effect), failure },
            };
            // The chat has ended when nobody listens.
            let _ = inputs.send(input).await;
        });
    }

    /// Waits for what is on its way to the node, and returns the texts that did not get there. The other end of
    /// `inputs` must be gone by now.
    pub async fn finish(self) -> Vec<String> {
        drop(self.posts);
        match tokio::time::timeout(LAST_POSTS_WAIT, self.poster).await {
            Ok(Ok(unsent)) => unsent,
            Ok(Err(_)) | Err(_) => vec!["what you sent last may not have reached the node".to_owned()],
        }
    }

    fn answer(&mut self, input: Input) {
        let inputs = self.inputs.clone();
        self.tasks.spawn(async move {
            let _ = inputs.send(input).await;
        });
    }
}

async fn post_in_order(client: Client, inputs: mpsc::Sender<Input>, mut queue: mpsc::Receiver<Post>) -> Vec<String> {
    let mut unsent = Vec::new();
    while let Some(post) = queue.recv().await {
        let (input, text) = match in_time(ANSWER_WAIT, say(&client, &post)).await {
            Ok(sent) => (Input::Answer(Answer::Posted { post, sent }), None),
            Err(failure) => {
                let text = match &post.what {
                    Posting::Message { text, .. } | Posting::Edit { text, .. } => Some(text.clone()),
                    Posting::Erase { .. } | Posting::React { .. } => None,
                };
                (Input::Failed { effect: Box::new(Effect::Post(post)), failure }, text)
            }
        };
        if inputs.send(input).await.is_err() {
            unsent.extend(text);
        }
    }
    unsent
}

async fn say(client: &Client, post: &Post) -> Result<crate::api::types::Sent, ClientError> {
    match &post.what {
        Posting::Message { text, reply_to } => {
            let body = SendMessage { text: text.clone(), reply_to: reply_to.clone(), file: None };
            client.post(&format!("/v1/rooms/{}/messages", post.room), &body).await
        }
        Posting::Edit { event, text } => {
            let body = SendMessage { text: text.clone(), reply_to: None, file: None };
            client.post(&format!("/v1/events/{event}/edit"), &body).await
        }
        Posting::Erase { event } => client.post(&format!("/v1/events/{event}/erase"), &Empty {}).await,
        Posting::React { event, emoji, remove } => {
            let body = React { emoji: emoji.clone(), remove: *remove };
            client.post(&format!("/v1/events/{event}/react"), &body).await
        }
    }
}

async fn ask(client: &Client, effect: &Effect) -> Result<Answer, Failure> {
    match effect {
        Effect::LoadIdentity => get(client, "/v1/id").await.map(Answer::Identity),
        Effect::LoadStatus => get(client, "/v1/status").await.map(Answer::Status),
        Effect::LoadRooms => get(client, "/v1/rooms").await.map(Answer::Rooms),
        Effect::LoadDevices => get(client, "/v1/devices").await.map(Answer::Devices),
        Effect::LoadMembers { room } => {
            let members = get(client, &format!("/v1/rooms/{room}/members")).await?;
            Ok(Answer::Members { room: room.clone(), members })
        }
        Effect::LoadPage { room, page } => {
            let lines = get(client, &page_path(room, page)).await?;
            Ok(Answer::Page { room: room.clone(), page: page.clone(), lines })
        }
        Effect::MarkRead { room, event } => {
            let body = MarkRead { event: event.clone() };
            post::<_, IgnoredAny>(client, &format!("/v1/rooms/{room}/read"), &body).await?;
            Ok(Answer::MarkedRead { room: room.clone() })
        }
        Effect::Type { room, typing } => {
            post::<_, IgnoredAny>(client, &format!("/v1/rooms/{room}/typing"), &Typing { typing: *typing }).await?;
            Ok(Answer::Typed)
        }
        Effect::SetName(name) => {
            post::<_, IgnoredAny>(client, "/v1/id/name", &SetName { name: name.clone() }).await?;
            Ok(Answer::Named(name.clone()))
        }
        Effect::CreateRoom(name) => {
            let body = CreateRoom { name: name.clone(), public: false, invite_rank: None };
            let room = post(client, "/v1/rooms", &body).await?;
            Ok(Answer::Created { name: name.clone(), room })
        }
        Effect::Join(link) => {
            let body = JoinRoom { link: link.clone(), wait_ms: JOIN_WAIT_MS };
            post(client, "/v1/join", &body).await.map(Answer::Joined)
        }
        Effect::Invite { room, role } => {
            let body = CreateInvite { role: role.clone(), expires_ms: None };
            post(client, &format!("/v1/rooms/{room}/invites"), &body).await.map(Answer::Invited)
        }
        Effect::Leave { room } => {
            post::<_, IgnoredAny>(client, &format!("/v1/rooms/{room}/leave"), &Empty {}).await?;
            Ok(Answer::Left { room: room.clone() })
        }
        Effect::Person { user, act } => person(client, user, act).await,
        Effect::Order { room, act } => order(client, room, act).await,
        Effect::LoadReports { room } => get(client, &format!("/v1/rooms/{room}/reports")).await.map(Answer::Reports),
        Effect::LoadInbox => get(client, &format!("/v1/inbox?limit={PAGE_LEN}")).await.map(Answer::Inbox),
        Effect::LoadThreads { room, number } => threads(client, room, *number).await,
        Effect::Search(query) => {
            let body = Search { query: query.clone(), ..Search::default() };
            post(client, "/v1/search", &body).await.map(Answer::Found)
        }
        Effect::Post(_) | Effect::ShowPlain(_) | Effect::Redraw | Effect::Quit => {
            Err(Failure { says: "This is not for the node.".to_owned(), outcome: Outcome::NotDone })
        }
    }
}

async fn threads(client: &Client, room: &str, number: Option<usize>) -> Result<Answer, Failure> {
    let threads: Vec<Thread> = get(client, &format!("/v1/rooms/{room}/threads?limit={PAGE_LEN}")).await?;
    let Some(number) = number else { return Ok(Answer::Threads(threads)) };
    let Some(thread) = threads.get(number.saturating_sub(1)) else {
        let says = format!("There are {} threads here: /thread lists them.", threads.len());
        return Err(Failure { says, outcome: Outcome::NotDone });
    };
    let path = format!("/v1/rooms/{room}/messages?limit={PAGE_LEN}&thread={}", thread.root);
    get(client, &path).await.map(Answer::Thread)
}

async fn person(client: &Client, user: &str, act: &PersonAct) -> Result<Answer, Failure> {
    let path = |what: &str| format!("/v1/people/{}/{what}", segment(user));
    let person = match act {
        PersonAct::Call(name) => post(client, &path("name"), &SetPetname { name: name.clone() }).await?,
        PersonAct::ShowCode => return get(client, &path("code")).await.map(Answer::Code),
        PersonAct::Verify(code) => post(client, &path("verify"), &Verify { code: code.clone() }).await?,
        PersonAct::Block => post(client, &path("block"), &Empty {}).await?,
        PersonAct::Unblock => in_time(ANSWER_WAIT, client.delete(&path("block"))).await?,
    };
    Ok(Answer::Person { act: act.clone(), person })
}

async fn order(client: &Client, room: &str, act: &OrderAct) -> Result<Answer, Failure> {
    let path = |what: &str| format!("/v1/rooms/{room}/{what}");
    match act {
        OrderAct::Remove { user, .. } => {
            let path = path(&format!("members/{}", segment(user)));
            in_time::<IgnoredAny>(ANSWER_WAIT, client.delete(&path)).await?;
        }
        OrderAct::Appoint { user, role, .. } => {
            let body = Appoint { user: user.clone(), role: role.clone() };
            post::<_, IgnoredAny>(client, &path("members"), &body).await?;
        }
        OrderAct::Set { key, value } => {
            let body = SetSetting { key: (*key).to_owned(), value: value.clone() };
            post::<_, IgnoredAny>(client, &path("settings"), &body).await?;
        }
        OrderAct::Hide { event, hidden } => {
            let body = SetHidden { hidden: *hidden };
            post::<_, IgnoredAny>(client, &format!("/v1/events/{event}/hide"), &body).await?;
        }
        OrderAct::Report { event, reason } => {
            let body = SendReport { reason: reason.clone() };
            post::<_, IgnoredAny>(client, &format!("/v1/events/{event}/report"), &body).await?;
        }
    }
    Ok(Answer::Ordered(act.clone()))
}

fn page_path(room: &str, page: &Page) -> String {
    let end = match page {
        Page::Newest => String::new(),
        Page::Before(event) => format!("&before={event}"),
        Page::After(event) => format!("&after={event}"),
    };
    format!("/v1/rooms/{room}/messages?limit={PAGE_LEN}{end}")
}

async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, Failure> {
    in_time(ANSWER_WAIT, client.get(path)).await
}

async fn post<B: Serialize, T: DeserializeOwned>(client: &Client, path: &str, body: &B) -> Result<T, Failure> {
    in_time(ANSWER_WAIT, client.post(path, body)).await
}

async fn in_time<T>(wait: Duration, answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
    match tokio::time::timeout(wait, answer).await {
        Ok(answer) => answer.map_err(|error| failure(&error)),
        Err(_) => {
            let says = format!("The node did not answer within {} seconds.", wait.as_secs());
            Err(Failure { says, outcome: Outcome::Unknown })
        }
    }
}

/// What a failed request means to a person.
pub fn failure(error: &ClientError) -> Failure {
    let (says, outcome) = match error {
        ClientError::NotRunning => ("No node is running any more.".to_owned(), Outcome::NotDone),
        ClientError::Problem(problem) => {
            let says = [problem.title.trim(), problem.detail.trim()].join(" ");
            (says.trim().to_owned(), Outcome::NotDone)
        }
        ClientError::Io(source) => (format!("The connection to the node failed: {source}."), Outcome::Unknown),
        ClientError::Protocol(source) => (format!("The node's answer cannot be used: {source}."), Outcome::Unknown),
    };
    Failure { says, outcome }
}

#[derive(Serialize)]
struct Empty {}

/// Posts that wait for the node; the state lets fewer through.
const POSTS_MAX: usize = 256;
/// A node on the same machine answers in milliseconds; a disk that must be synced first may take its time.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How long a join may look for somebody who has the room before it says that it goes on in the background.
const JOIN_WAIT_MS: u64 = 10_000;
/// How long the end of the chat waits for what was sent last.
const LAST_POSTS_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Problem;

    #[test]
    fn refusals_are_told_in_the_nodes_words() {
        let problem = Problem { status: 403, code: "refused".into(), title: "No.".into(), detail: "Ask Ana.".into() };
        let told = failure(&ClientError::Problem(problem));
        assert_eq!(told, Failure { says: "No. Ask Ana.".into(), outcome: Outcome::NotDone });
        let broken = failure(&ClientError::Io(std::io::Error::other("reset")));
        assert_eq!(broken.outcome, Outcome::Unknown);
    }

    #[test]
    fn pages_are_asked_for_by_cursor() {
        assert_eq!(page_path("r", &Page::Newest), "/v1/rooms/r/messages?limit=50");
        assert_eq!(page_path("r", &Page::Before("e".into())), "/v1/rooms/r/messages?limit=50&before=e");
        assert_eq!(page_path("r", &Page::After("e".into())), "/v1/rooms/r/messages?limit=50&after=e");
    }

    #[tokio::test]
    async fn texts_that_never_left_come_back_at_the_end() {
        let (inputs, listener) = mpsc::channel(8);
        let mut performer = Performer::new(Client::new("/nonexistent/node.sock".into()), inputs);
        drop(listener);
        let what = Posting::Message { text: "remember me".into(), reply_to: None };
        performer.begin(Effect::Post(Post { token: 1, room: "r".into(), what }));
        assert_eq!(performer.finish().await, ["remember me"]);
    }

    #[tokio::test]
    async fn node_that_is_gone_is_a_failed_effect() {
        let (inputs, mut listener) = mpsc::channel(8);
        let mut performer = Performer::new(Client::new("/nonexistent/node.sock".into()), inputs);
        performer.begin(Effect::LoadRooms);
        let Some(Input::Failed { effect, failure }) = listener.recv().await else { panic!("no failure") };
        assert_eq!((*effect, failure.outcome), (Effect::LoadRooms, Outcome::NotDone));
    }
}
