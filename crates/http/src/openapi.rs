//! The OpenAPI document: what holds for all operations. Each operation describes itself, beside its handler.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, OpenApi as _,
    openapi::{
        Content, ContentBuilder, Header, HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Response,
        ResponseBuilder,
        path::Operation,
        schema::{SchemaType, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    blueprint, central_routes, common_routes, metrics, peer_routes,
    problem::{self, Kind, Problem, ProblemDocument},
    reading, register_routes,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Sorcha node",
        description = "The system register of blueprints over HTTP, and the state of the node that serves it. Central \
                       nodes take publications; peers serve a verified replica and state how old it is. Every error is \
                       an RFC 9457 problem document. Reads need no token, writes need one of `http.token_file`."
    ),
    tags(
        (name = "health", description = "Probes and metrics, both roles"),
        (name = "node", description = "The node and its central nodes, both roles"),
        (name = "register", description = "The system register, both roles; a peer answers from its own replica"),
        (name = "publishing", description = "Writing to the register: central nodes only"),
        (name = "peers", description = "The peers connected to a central node: central nodes only"),
        (name = "connection", description = "A peer's connection to its central node: peers only"),
        (name = "sync", description = "A peer's replication: peers only"),
    ),
    components(schemas(ProblemDocument))
)]
struct Base;

/// The OpenAPI 3.1 document of both roles.
#[must_use]
pub fn openapi() -> OpenApi {
    let mut api = Base::openapi();
    for part in [
        common_routes().into_openapi(),
        metrics::routes().into_openapi(),
        central_routes().into_openapi(),
        peer_routes().into_openapi(),
        with_read_headers(register_routes().into_openapi()),
    ] {
        api.merge(part);
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of http.token_file, or one that Kubernetes takes and lets publish."));
    let components = api.components.get_or_insert_default();
    components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(bearer.build()).into());
    api
}

/// Problem responses of an operation, by status: `Fails<404>` in its list of responses.
pub(super) struct Fails<const STATUS: u16>;

/// An example of each status; its kind's title is what the status means.
#[rustfmt::skip]
const EXAMPLES: [(Kind, &str); 13] = [
    (Kind::INVALID, "page is \"0\"; it must be a whole number of 1 or more"),
    (Kind::UNAUTHORIZED, "send the header `Authorization: Bearer <token>`"),
    (Kind::WRITES_DISABLED, "no token is configured; set http.token_file, or http.insecure_writes = true for a trial"),
    (Kind::NOT_FOUND, "no blueprint invoice-v1 is published"),
    (Kind::NOT_ACCEPTABLE, "the document of invoice-v1 is not JSON; ask for application/ld+json, or with ?raw=true"),
    (Kind::TIMEOUT, "the body did not arrive within 10 s"),
    (Kind::CONFLICT, "blueprint invoice-v1 is already published with other content; publish it under a new id"),
    (Kind::TOO_LARGE, "the document has 16777217 bytes; the limit is 16777216 (16 MB)"),
    (Kind::MEDIA, "Content-Type is text/plain; it must be application/json"),
    (Kind::TOO_MANY, "32 bodies of alice (token_file) are on their way already; publish fewer at once (http.max_publisher_bodies)"),
    (Kind::UNSTORABLE, "the document nests deeper than the store allows"),
    (Kind::STORE_UNAVAILABLE, "the store is not available: no answer within 5 s"),
    (Kind::STORE_FULL, "the store is full: no space left on device"),
];

impl<const STATUS: u16> IntoResponses for Fails<STATUS> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let example = EXAMPLES.into_iter().find(|(kind, _)| kind.status.as_u16() == STATUS);
        let (kind, detail) = example.unwrap_or((Kind::INTERNAL, "the store failed"));
        failure(kind, detail)
    }
}

/// The 503 of a probe.
pub(super) struct NotReady;

impl IntoResponses for NotReady {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        failure(Kind::NOT_READY, "this peer holds no replica yet; its connection is Connecting")
    }
}

/// The 503 of what needs a central node.
pub(super) struct NotConnected;

impl IntoResponses for NotConnected {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let detail = "this peer is Isolated; it connects by itself as soon as a central node can be reached";
        failure(Kind::NOT_CONNECTED, detail)
    }
}

fn failure(kind: Kind, detail: &str) -> BTreeMap<String, RefOr<Response>> {
    let document = serde_json::to_value(Problem::new(kind, detail).document(None)).ok();
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).example(document).build();
    let response = ResponseBuilder::new().description(kind.title).content(problem::MEDIA_TYPE, content);
    BTreeMap::from([(kind.status.as_u16().to_string(), response.build().into())])
}

/// Every read of the register states the same headers, validates, and may be refused for its age.
fn with_read_headers(mut api: OpenApi) -> OpenApi {
    for operation in api.paths.paths.values_mut().filter_map(|item| item.get.as_mut()) {
        describe_read(operation);
    }
    api
}

fn describe_read(operation: &mut Operation) {
    let header = |kind: Type, text: &str| -> RefOr<Header> {
        let schema = ObjectBuilder::new().schema_type(SchemaType::Type(kind)).build();
        HeaderBuilder::new().schema(Some(schema)).description(Some(text)).build().into()
    };
    let responses = &mut operation.responses.responses;
    if let Some(RefOr::T(response)) = responses.get_mut("200") {
        response.headers.extend([
            (reading::VERSION.to_string(), header(Type::Integer, "Head version the answer was taken from.")),
            (reading::PEER_STATE.to_string(), header(Type::String, "Peers: state of the connection.")),
            (
                reading::STALENESS.to_string(),
                header(Type::Integer, "Peers: age of the replica, seconds; absent when never synced."),
            ),
            ("etag".to_owned(), header(Type::String, "Strong validator, for If-None-Match.")),
            (
                "warning".to_owned(),
                header(Type::String, "`110` when the replica is older than http.max_staleness."),
            ),
        ]);
        if let Some(content) = response.content.get_mut(blueprint::LD_JSON) {
            *content = any_json();
        }
    }
    let unchanged =
        ResponseBuilder::new().description("Not changed since the version named by If-None-Match").build();
    responses.insert("304".to_owned(), unchanged.into());
    let detail =
        "the replica is 7200 s old and http.max_staleness refuses reads after 3600 s; this peer is Isolated";
    responses.append(&mut failure(Kind::STALE, detail));
}

fn any_json() -> RefOr<Content> {
    let document = serde_json::json!({"@context": "https://sorcha.dev/blueprints/v1", "id": "invoice-v1", "name": "Invoice"});
    let schema = ObjectBuilder::new().schema_type(Type::Object).build();
    RefOr::T(ContentBuilder::new().schema(Some(schema)).example(Some(document)).build())
}
