//! The routes, and where they are served: a Unix socket that only its owner may open, and TCP on loopback with a token.

use super::devices;
use super::erasures;
use super::files;
use super::guard::{self, Guard};
use super::inbox;
use super::json::Json;
use super::moderation_routes;
use super::people_routes;
use super::problem::{Failed, explain_refusal};
use super::purge;
use super::search;
use super::streams;
use super::types as api;
use crate::handle::{NodeError, NodeHandle};
use crate::home::{Home, explain};
use crate::inbox::pages::Which as Chosen;
use crate::page::{Blocked, From as PageFrom};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use serde::Deserialize;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running API.
pub struct Server {
    /// What it left in the home.
    pub running: api::Running,
    /// Becomes true when somebody asked the node to stop.
    pub stop_asked: watch::Receiver<bool>,
    home: Home,
    tasks: Vec<JoinHandle<()>>,
}

/// Why the API could not be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address of `--api`.
    #[error("--api {0}: not an address; write for example 127.0.0.1:0")]
    Address(String),
    /// It would be open to other machines.
    #[error("--api {0}: only loopback addresses (127.0.0.1, [::1]): put a proxy with TLS in front to serve others")]
    NotLoopback(SocketAddr),
    /// The port.
    #[error(
        "the API cannot listen on {address}: {source}. Another program may use that port: choose one with --api 127.0.0.1:0"
    )]
    Port {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The socket or the home.
    #[error(transparent)]
    Home(#[from] crate::home::HomeError),
}

impl Server {
    /// Serves the node; `api` is where on TCP.
    ///
    /// # Errors
    /// `ServeError`.
    pub async fn start(home: &Home, node: NodeHandle, api: Option<&str>) -> Result<Self, ServeError> {
        let text = api.unwrap_or("127.0.0.1:0");
        let address: SocketAddr = text.parse().map_err(|_| ServeError::Address(text.to_owned()))?;
        if !address.ip().is_loopback() {
            return Err(ServeError::NotLoopback(address));
        }
        let tcp = TcpListener::bind(address).await.map_err(|source| ServeError::Port { address, source })?;
        let address = tcp.local_addr().unwrap_or(address);
        let (socket_path, socket) = bind_socket(home)?;
        let token = crate::node::fresh_token();
        let (stop, stop_asked) = watch::channel(false);
        let routes = routes(node, stop);
        let guarded =
            routes.clone().layer(middleware::from_fn_with_state(Guard { token: token.clone() }, guard::check));
        let tasks = vec![
            tokio::spawn(async move { drop(axum::serve(socket, routes).await) }),
            tokio::spawn(async move { drop(axum::serve(tcp, guarded).await) }),
        ];
        let running = api::Running {
            pid: std::process::id(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            socket: socket_path.to_string_lossy().into_owned(),
            api: format!("http://{address}"),
            token,
        };
        home.set_running(&running)?;
        Ok(Server { running, stop_asked, home: home.clone(), tasks })
    }

    /// Stops serving, and takes back what was left in the home.
    pub fn stop(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        drop(std::fs::remove_file(&self.running.socket));
        self.home.clear_running();
    }
}

fn bind_socket(home: &Home) -> Result<(PathBuf, UnixListener), ServeError> {
    let path = home.socket_path();
    if let Some(folder) = path.parent() {
        home.make_socket_folder(folder)?;
    }
    // The store's lock says that no other node runs in this home: what lies here is left from a crash.
    drop(std::fs::remove_file(&path));
    let listener = UnixListener::bind(&path).map_err(|e| explain(&path, e))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(|e| explain(&path, e))?;
    Ok((path, listener))
}

#[derive(Clone)]
pub(super) struct App {
    node: NodeHandle,
    stop: watch::Sender<bool>,
}

impl axum::extract::FromRef<App> for NodeHandle {
    fn from_ref(app: &App) -> NodeHandle {
        app.node.clone()
    }
}

pub(super) type Answer<T> = Result<Json<T>, Failed>;
pub(super) type Node = State<NodeHandle>;

fn routes(node: NodeHandle, stop: watch::Sender<bool>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/v1/status", get(status))
        .route("/v1/id", get(identity))
        .route("/v1/id/name", post(set_name))
        .route("/v1/devices", get(devices::list))
        .route("/v1/devices/offer", get(devices::standing).post(devices::offer).delete(devices::close))
        .route("/v1/devices/{device}/revoke", post(devices::revoke))
        .route("/v1/devices/offer/decide", post(devices::decide))
        .route("/v1/peers", get(peers).post(add_peer))
        .route("/v1/rooms", get(rooms).post(create_room))
        .route("/v1/rooms/{room}", get(room))
        .route("/v1/rooms/{room}/members", get(members).post(appoint))
        .route("/v1/rooms/{room}/members/{user}", delete(remove))
        .route("/v1/rooms/{room}/removed", get(removed))
        .route("/v1/rooms/{room}/settings", post(set_setting))
        .route("/v1/rooms/{room}/invites", get(room_invites).post(invite))
        .route("/v1/rooms/{room}/leave", post(leave))
        .route("/v1/rooms/{room}/team", post(set_team))
        .route("/v1/rooms/{room}/alias", post(alias))
        .route("/v1/rooms/{room}/read", post(mark_read))
        .route("/v1/rooms/{room}/typing", post(typing))
        .route("/v1/rooms/{room}/messages", get(messages).post(send))
        .route("/v1/rooms/{room}/import", post(streams::import).layer(DefaultBodyLimit::disable()))
        .route("/v1/rooms/{room}/export", get(streams::export))
        .route("/v1/invites", get(invites))
        .route("/v1/invites/{invite}", delete(close_invite))
        .route("/v1/join", post(join))
        .route("/v1/events", get(streams::events))
        .route("/v1/events/{event}/edit", post(edit))
        .route("/v1/events/{event}/erase", post(erase))
        .route("/v1/events/{event}/adopt", post(adopt))
        .route("/v1/events/{event}/react", post(react))
        .route("/v1/stop", post(stop_node))
        .merge(people_routes::routes())
        .merge(moderation_routes::routes())
        .merge(purge::routes())
        .merge(inbox::routes())
        .merge(erasures::routes())
        .merge(search::routes())
        .merge(files::routes())
        .merge(super::keep::routes())
        .merge(super::audit::routes())
        .merge(super::upkeep::routes())
        .method_not_allowed_fallback(async || {
            Failed::new(StatusCode::METHOD_NOT_ALLOWED, "usage", "this route has other methods", "")
        })
        .fallback(async || Failed::new(StatusCode::NOT_FOUND, "not_found", "there is no such route", ""))
        .layer(middleware::map_response(explain_refusal))
        .with_state(App { node, stop })
}

async fn status(State(node): Node) -> Answer<api::Status> {
    Ok(Json(node.status().await?))
}

async fn identity(State(node): Node) -> Answer<api::Identity> {
    Ok(Json(node.identity()?))
}

async fn set_name(State(node): Node, Json(body): Json<api::SetName>) -> Answer<api::Identity> {
    node.set_name(&body.name).await?;
    Ok(Json(node.identity()?))
}

async fn peers(State(node): Node) -> Json<Vec<api::Peer>> {
    Json(node.peers().await)
}

async fn add_peer(State(node): Node, Json(body): Json<api::AddPeer>) -> Answer<serde_json::Value> {
    node.add_peer(&body.address).await?;
    done()
}

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    all: bool,
}

async fn rooms(State(node): Node, Query(which): Query<Which>) -> Answer<Vec<api::Room>> {
    Ok(Json(node.rooms(which.all)?))
}

async fn create_room(State(node): Node, Json(body): Json<api::CreateRoom>) -> Answer<api::RoomCreated> {
    Ok(Json(node.create_room(&body).await?))
}

async fn room(State(node): Node, Path(room): Path<String>) -> Answer<api::Room> {
    let (id, view) = node.room_view(&room)?;
    Ok(Json(node.room(id, &view)?))
}

async fn members(State(node): Node, Path(room): Path<String>) -> Answer<Vec<api::Member>> {
    Ok(Json(node.members(&room)?))
}

async fn removed(State(node): Node, Path(room): Path<String>) -> Answer<Vec<api::Member>> {
    Ok(Json(node.removed(&room)?))
}

async fn appoint(
    State(node): Node,
    Path(room): Path<String>,
    Json(body): Json<api::Appoint>,
) -> Answer<api::Appointed> {
    Ok(Json(node.appoint(&room, &body.user, &body.role).await?))
}

async fn remove(State(node): Node, Path((room, user)): Path<(String, String)>) -> Answer<api::Appointed> {
    Ok(Json(node.remove(&room, &user).await?))
}

async fn set_setting(
    State(node): Node,
    Path(room): Path<String>,
    Json(body): Json<api::SetSetting>,
) -> Answer<serde_json::Value> {
    node.set_setting(&room, &body.key, &body.value).await?;
    done()
}

async fn room_invites(State(node): Node, Path(room): Path<String>) -> Answer<Vec<api::Invite>> {
    Ok(Json(node.invites(Some(&room))?))
}

async fn invites(State(node): Node) -> Answer<Vec<api::Invite>> {
    Ok(Json(node.invites(None)?))
}

async fn invite(
    State(node): Node,
    Path(room): Path<String>,
    Json(body): Json<api::CreateInvite>,
) -> Answer<api::Invite> {
    Ok(Json(node.invite(&room, &body).await?))
}

async fn close_invite(State(node): Node, Path(invite): Path<String>) -> Answer<serde_json::Value> {
    node.close_invite(&invite).await?;
    done()
}

async fn leave(
    State(node): Node,
    Path(room): Path<String>,
    body: Option<Json<Option<api::LeaveRoom>>>,
) -> Answer<serde_json::Value> {
    match body.and_then(|Json(body)| body).filter(|body| body.for_good) {
        Some(body) => {
            let left = node.leave_for_good(&room, body.words.as_deref()).await?;
            Ok(Json(serde_json::to_value(left).unwrap_or_default()))
        }
        None => {
            node.leave(&room).await?;
            done()
        }
    }
}

async fn set_team(
    State(node): Node,
    Path(room): Path<String>,
    Json(body): Json<api::SetTeam>,
) -> Answer<serde_json::Value> {
    node.set_team(&room, body.team.as_deref(), body.role.as_deref()).await?;
    done()
}

async fn alias(
    State(node): Node,
    Path(room): Path<String>,
    Json(body): Json<api::SetAlias>,
) -> Answer<serde_json::Value> {
    node.alias(&room, &body.alias).await?;
    done()
}

async fn mark_read(
    State(node): Node,
    Path(room): Path<String>,
    Json(body): Json<api::MarkRead>,
) -> Answer<serde_json::Value> {
    node.mark_read(&room, &body.event).await?;
    done()
}

async fn typing(
    State(node): State<NodeHandle>,
    Path(room): Path<String>,
    Json(body): Json<api::Typing>,
) -> Answer<serde_json::Value> {
    node.types(&room, body.typing).await?;
    done()
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
    before: Option<String>,
    after: Option<String>,
    /// Those of people who are blocked here, too.
    #[serde(default)]
    blocked: bool,
    /// What does not count, and nothing else.
    #[serde(default)]
    void: bool,
    /// What is unread, and nothing else.
    #[serde(default)]
    unread: bool,
    /// What is for the local user.
    #[serde(default)]
    mentions: bool,
    /// The thread of this message.
    thread: Option<String>,
}

async fn messages(State(node): Node, Path(room): Path<String>, Query(page): Query<Page>) -> Answer<Vec<api::Line>> {
    let (id, view) = node.room_view(&room)?;
    let from = match (&page.before, &page.after) {
        (None, None) => PageFrom::Newest,
        (Some(event), None) => PageFrom::Before(node.reads_from(event)?),
        (None, Some(event)) => PageFrom::After(node.event(event)?.1),
        _ => return Err(NodeError::Usage("before and after exclude one another".to_owned()).into()),
    };
    let limit = page.limit.unwrap_or(50).clamp(1, PAGE_MAX);
    let which = match (&page.thread, page.unread, page.mentions) {
        (Some(event), ..) => Some(Chosen::Thread(inbox::id_of(&node, event)?)),
        (None, true, _) => Some(Chosen::Unread),
        (None, false, true) => Some(Chosen::Mentions),
        (None, false, false) => None,
    };
    if let Some(which) = which {
        return Ok(Json(node.page_of(&view, which, from, limit)?));
    }
    if page.void {
        return Ok(Json(node.void_page(&view, from, limit)?));
    }
    let blocked = if page.blocked { Blocked::Shown } else { Blocked::Hidden };
    Ok(Json(node.page_back((id, &view), from, limit, blocked).await?))
}

async fn send(State(node): Node, Path(room): Path<String>, Json(body): Json<api::SendMessage>) -> Answer<api::Sent> {
    match &body.file {
        Some(file) => Ok(Json(node.send_file(&room, &body, file).await?)),
        None => Ok(Json(node.send(&room, &body.text, body.reply_to.as_deref()).await?)),
    }
}

async fn edit(State(node): Node, Path(event): Path<String>, Json(body): Json<api::SendMessage>) -> Answer<api::Sent> {
    Ok(Json(node.edit(&event, &body.text).await?))
}

async fn erase(State(node): Node, Path(event): Path<String>) -> Answer<api::Sent> {
    Ok(Json(node.erase(&event).await?))
}

async fn adopt(State(node): Node, Path(event): Path<String>) -> Answer<api::Sent> {
    Ok(Json(node.adopt(&event).await?))
}

async fn react(State(node): Node, Path(event): Path<String>, Json(body): Json<api::React>) -> Answer<api::Sent> {
    Ok(Json(node.react(&event, &body.emoji, body.remove).await?))
}

async fn join(State(node): Node, Json(body): Json<api::JoinRoom>) -> Answer<api::Joined> {
    let wait = Duration::from_millis(body.wait_ms).min(WAIT_MAX);
    Ok(Json(node.join(&body.link, wait).await?))
}

async fn stop_node(State(app): State<App>) -> Answer<serde_json::Value> {
    let _ = app.stop.send(true);
    done()
}

pub(super) fn done() -> Answer<serde_json::Value> {
    Ok(Json(serde_json::json!({})))
}

/// Messages in one answer.
pub(super) const PAGE_MAX: usize = 1000;
/// The longest that a request waits.
const WAIT_MAX: Duration = Duration::from_secs(3600);
