//! Where a blueprint's document comes from. It is read for one look at the register and dropped after that; what is kept of it
//! is its checksum.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource as _, ResourceExt as _, api::GetParams, core::Request};
use serde::Deserialize;
use serde_json::value::RawValue;
use sorcha_crds::{SorchaBlueprint, blueprint::ConfigMapKeyRef, conditions::PUBLISHED};

use crate::{
    cache::Triggers,
    context::Ctx,
    feed::{
        self, Event, Source,
        call::{self, CallFault},
        object::{self, Cut, Seen},
    },
    publication::document::{Document, IN_RESOURCE, Missing, PUBLISH_LABEL},
};

/// ConfigMaps of one page of a list, of which only metadata is asked for.
const PAGE: u32 = 100;

/// Whether the document is the one that was published: it stands in the resource, which has not changed since.
pub(super) fn is_settled(blueprint: &SorchaBlueprint) -> bool {
    let Some(status) = &blueprint.status else { return false };
    let is_published = status.conditions.iter().any(|condition| {
        condition.type_ == PUBLISHED
            && condition.status == "True"
            && condition.observed_generation == blueprint.metadata.generation
    });
    blueprint.spec.document.is_some() && status.checksum.is_some() && is_published
}

/// The document as it is now.
///
/// # Errors
/// Why it can't be told.
pub(super) async fn read(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
) -> Result<Result<Document, Missing>, String> {
    match (&blueprint.spec.document, &blueprint.spec.config_map_ref) {
        (Some(_), _) => own(blueprint, ctx).await,
        (None, Some(reference)) => from_config_map(blueprint, ctx, reference).await,
        (None, None) => {
            let problem = "there is neither document nor configMapRef".to_owned();
            Ok(Err(Missing::NotAnObject { place: "spec".to_owned(), problem }))
        }
    }
}

async fn own(blueprint: &SorchaBlueprint, ctx: &Ctx) -> Result<Result<Document, Missing>, String> {
    let (namespace, name) = (blueprint.namespace().unwrap_or_default(), blueprint.name_any());
    ctx.metrics.called("get", "sorchablueprints");
    let request = Request::new(SorchaBlueprint::url_path(&(), Some(&namespace)));
    let text = call::object(&ctx.client, request.get(&name, &GetParams::default())).await;
    let text = text.map_err(|fault| format!("read the document: {fault}"))?;
    let is_same =
        |text: &&Vec<u8>| object::identity(text).is_some_and(|held| Some(held.uid) == blueprint.uid());
    let text = text.as_ref().filter(is_same).ok_or("the resource is another one now")?;
    let document = object::document(text).ok_or("the resource has no document now")?;
    let _reading = ctx.publisher.reading().await;
    Ok(Document::inline(document, IN_RESOURCE))
}

async fn from_config_map(
    blueprint: &SorchaBlueprint,
    ctx: &Ctx,
    reference: &ConfigMapKeyRef,
) -> Result<Result<Document, Missing>, String> {
    let (namespace, ConfigMapKeyRef { name, key }) =
        (blueprint.namespace().unwrap_or_default(), reference.clone());
    ctx.metrics.called("get", "configmaps");
    let request = Request::new(ConfigMap::url_path(&(), Some(&namespace)));
    let told = |fault: CallFault| format!("read the document's ConfigMap: {fault}");
    let text = call::object(&ctx.client, request.get(&name, &GetParams::default())).await.map_err(told)?;
    let Some(text) = text else { return Ok(Err(Missing::ConfigMap { name, key, namespace })) };
    let map: Mapped<'_> =
        serde_json::from_slice(&text).map_err(|_| told(CallFault::Strange("it is no ConfigMap")))?;
    if map.metadata.labels.unwrap_or_default().get(PUBLISH_LABEL).is_none_or(|value| value != "true") {
        return Ok(Err(Missing::NotReleased { name }));
    }
    let value =
        map.data.unwrap_or_default().get(key.as_str()).and_then(|raw| serde_json::from_str(raw.get()).ok());
    let value: Option<Cow<'_, str>> = value;
    let _reading = ctx.publisher.reading().await;
    Ok(match value {
        Some(text) => Document::parse(&text, &format!("key {key} of ConfigMap {name}")),
        None => Err(Missing::ConfigMap { name, key, namespace }),
    })
}

/// A ConfigMap whose values are left as they are.
#[derive(Deserialize)]
struct Mapped<'a> {
    #[serde(default)]
    metadata: Labelled,
    #[serde(borrow, default)]
    data: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Labelled {
    name: String,
    namespace: String,
    resource_version: String,
    labels: Option<BTreeMap<String, String>>,
}

/// A ConfigMap that may be published, without its data.
#[derive(Deserialize)]
struct Released {
    #[serde(default)]
    metadata: Labelled,
}

/// Looks again at the blueprints whose ConfigMap comes, changes or goes, for ever. Those that may be published are followed,
/// and of them only that they are there.
pub(crate) async fn follow_config_maps(ctx: &Ctx, triggers: &Triggers) {
    let source = Source {
        path: ConfigMap::url_path(&(), ctx.settings.namespace.as_deref()),
        selector: Some(format!("{PUBLISH_LABEL}=true")),
        page: PAGE,
        cut: Cut::Records,
        metadata_only: true,
    };
    let mut versions = Versions::default();
    feed::follow(&ctx.client, &source, |event| {
        for (namespace, name) in versions.take(event) {
            stir(ctx, triggers, &namespace, &name);
        }
    })
    .await;
}

fn stir(ctx: &Ctx, triggers: &Triggers, namespace: &str, name: &str) {
    let concerned = ctx.caches.blueprints.state_filter(|blueprint| {
        blueprint.metadata.namespace.as_deref() == Some(namespace)
            && blueprint.spec.config_map_ref.as_ref().is_some_and(|reference| reference.name == name)
    });
    for blueprint in concerned {
        ctx.publisher.memory.stir(&blueprint.uid().unwrap_or_default());
        triggers.touch_blueprint(&blueprint);
    }
}

/// Namespace and name of a ConfigMap.
type MapKey = (String, String);

/// Which state each of them was in when it was seen last.
#[derive(Default)]
struct Versions {
    seen: HashMap<MapKey, String>,
    /// Of the list that is under way.
    listed: Option<HashMap<MapKey, String>>,
    failing: bool,
}

impl Versions {
    /// What has changed.
    fn take(&mut self, event: Event<Released>) -> Vec<MapKey> {
        match event {
            Event::Begin => self.listed = Some(HashMap::new()),
            Event::Listed(Seen::Readable(map)) => {
                let (place, version) = map.place();
                self.listed.get_or_insert_default().insert(place, version);
            }
            Event::Complete => {
                self.failing = false;
                let now = self.listed.take().unwrap_or_default();
                let then = std::mem::replace(&mut self.seen, now);
                let all = then.keys().chain(self.seen.keys());
                let mut changed: Vec<MapKey> =
                    all.filter(|place| then.get(*place) != self.seen.get(*place)).cloned().collect();
                changed.sort();
                changed.dedup();
                return changed;
            }
            Event::Changed(Seen::Readable(map)) => {
                let (place, version) = map.place();
                self.seen.insert(place.clone(), version);
                return vec![place];
            }
            Event::Deleted(Seen::Readable(map)) => {
                let (place, _) = map.place();
                self.seen.remove(&place);
                return vec![place];
            }
            Event::Failed(fault) if !std::mem::replace(&mut self.failing, true) => {
                tracing::warn!(%fault, "ConfigMaps are not followed; they are looked at every 30 s");
            }
            Event::Following => self.failing = false,
            Event::Failed(_) | Event::Nameless => {}
            Event::Listed(Seen::Unreadable(_)) | Event::Changed(Seen::Unreadable(_)) | Event::Deleted(_) => {}
        }
        Vec::new()
    }
}

impl Released {
    fn place(self) -> (MapKey, String) {
        ((self.metadata.namespace, self.metadata.name), self.metadata.resource_version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, version: &str) -> Seen<Released> {
        let metadata = Labelled {
            name: name.into(),
            namespace: "shop".into(),
            resource_version: version.into(),
            labels: None,
        };
        Seen::Readable(Released { metadata })
    }

    #[test]
    fn a_config_map_that_appears_changes_or_goes_is_noticed_once() {
        let mut versions = Versions::default();
        let mut take = |event| versions.take(event).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        let nothing: [&str; 0] = [];
        assert_eq!(take(Event::Begin), nothing);
        assert_eq!(take(Event::Listed(map("a", "1"))), nothing);
        assert_eq!(take(Event::Listed(map("b", "1"))), nothing);
        assert_eq!(take(Event::Complete), ["a", "b"]);
        assert_eq!(take(Event::Changed(map("c", "2"))), ["c"]);
        assert_eq!(take(Event::Deleted(map("a", "3"))), ["a"]);
        // After an outage: b is as it was, c has changed, d is new.
        take(Event::Begin);
        for seen in [map("b", "1"), map("c", "5"), map("d", "6")] {
            take(Event::Listed(seen));
        }
        assert_eq!(take(Event::Complete), ["c", "d"]);
        take(Event::Begin);
        take(Event::Listed(map("d", "6")));
        assert_eq!(take(Event::Complete), ["b", "c"], "they are gone");
    }
}
