//! A request that asks for texts, from its body to its answer: what completions and chat have in common.

use super::{
    App,
    answer::Answer,
    body::{self, Work},
    error::ApiError,
    guard::Tenant,
    json::Fields,
    model::Model,
    params::Delivery,
    record::Record,
    refused,
    stream::{Head, Shape, deliver},
};
use crate::{
    engine::{GenerateParams, Prompt},
    scheduler::Request as Text,
};
use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::Response,
};
use std::sync::Arc;

/// What a request asks for, checked.
pub struct Asked<S> {
    /// Its texts, those to one prompt after the other.
    pub texts: Vec<Text>,
    /// How they are answered.
    pub delivery: Delivery,
    /// How the answer looks.
    pub shape: S,
}

/// A kind of request.
pub trait Endpoint {
    /// How answers look.
    type Shape: Shape;
    /// Bodies of so many bytes are checked where they are read.
    const SMALL_LEN: usize = body::SMALL_LEN;

    /// Checks a body, for a model and a tenant.
    fn parse(
        fields: &Fields,
        model: &Arc<Model>,
        tenant: u64,
        work: &Work,
    ) -> Result<Asked<Self::Shape>, ApiError>;

    /// An error about a prompt, as the request calls it.
    fn name_error(error: ApiError) -> ApiError {
        error
    }
}

/// Answers a request.
pub async fn handle<E: Endpoint>(
    State(app): State<Arc<App>>,
    Extension(record): Extension<Record>,
    Extension(Tenant(tenant)): Extension<Tenant>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let model = app.ready_model()?;
    let body = body::read(&app, request).await?;
    let (asked, name) = {
        let (model, record) = (model.clone(), record.clone());
        let parse = move |body: &[u8], work: &Work| {
            let fields = Fields::parse(body)?;
            refused::check(&fields)?;
            let name = fields.text("model")?;
            let asked = E::parse(&fields, &model, tenant, work)?;
            record.set_ignored(fields.unread().filter(|name| refused::is_ignored(name)));
            Ok((asked, name))
        };
        body::parse(&app, body, E::SMALL_LEN, parse).await.map_err(E::name_error)?
    };
    let Asked { texts, delivery, shape } = asked;
    let name = app.check_name(name.as_deref())?;
    record.set_model(&name);
    let head = Head::new::<E::Shape>(delivery.stream, name, &record, &model);
    let answer = Answer::submit(&app, &model, texts, delivery, &record).map_err(E::name_error)?;
    deliver(answer, head, shape, delivery).await
}

/// The `n` texts that follow one prompt.
pub fn choices(ids: &[u32], params: &GenerateParams, n: usize, tenant: u64) -> impl Iterator<Item = Text> {
    (0..n as u32).map(move |choice| {
        let mut params = params.clone();
        params.sampling.choice = choice;
        Text { prompt: Prompt::Ids(ids.to_vec()), params, tenant }
    })
}
