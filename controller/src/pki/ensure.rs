//! Brings a resource's certificate to what its spec asks for, whichever mode that is.

use sorcha_crds::tls::TlsMode;

use super::{cert_manager, foreign, holder::Holder, managed};
use crate::{cache::Cached, context::Ctx, reconcile::Error};

/// Makes sure that the Secret is there that the pods mount, and that what it holds will do.
///
/// # Errors
/// What is missing, in words that name the remedy.
pub(crate) async fn ensure<S: Cached>(ctx: &Ctx, subject: &S, holder: &Holder) -> Result<(), Error> {
    if holder.tls.mode == TlsMode::Disabled {
        return Ok(());
    }
    let further = foreign::trust(ctx, holder).await?;
    let leaf = match (holder.tls.mode, holder.secret_name()) {
        (TlsMode::CertManager, _) => cert_manager::ensure(ctx, holder, &further).await?,
        (TlsMode::Secret, Some(name)) => foreign::ensure(ctx, holder, &name, &further).await?,
        _ => return managed::ensure(ctx, subject, holder, further).await,
    };
    if !further.is_empty() {
        ctx.applier.apply(&foreign::trust_map(holder, &leaf, &further)).await?;
    }
    Ok(())
}
