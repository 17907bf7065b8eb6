//! A small local web server for the commands that show something in a browser.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use super::{Context, Failure, block_on};

/// What a path is answered with.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) const fn ok(content_type: &'static str, body: Bytes) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body,
        }
    }

    pub(super) const fn refused(status: StatusCode, text: &'static str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: Bytes::from_static(text.as_bytes()),
        }
    }
}

/// Answers requests until the process is interrupted.
pub(super) fn serve(
    context: &mut Context<'_>,
    address: (&str, u16),
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> Result<(), Failure> {
    block_on(async {
        let listener = TcpListener::bind(address).await?;
        writeln!(
            context.out,
            "serving on http://{}/ — stop with Ctrl-C",
            listener.local_addr()?
        )?;
        context.out.flush()?;
        let stop = async {
            // Without a signal handler there is nothing to wait for.
            let _unavailable: std::io::Result<()> = tokio::signal::ctrl_c().await;
        };
        tokio::select! {
            () = accept(&listener, Arc::new(answer)) => {}
            () = stop => {}
        }
        Ok(())
    })?
}

async fn accept(listener: &TcpListener, answer: Arc<dyn Fn(&str) -> Answer + Send + Sync>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let answer = Arc::clone(&answer);
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = Arc::clone(&answer);
                async move { Ok::<_, Infallible>(response(answer(request.uri().path()))) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A browser that goes away in the middle is its own business.
            let _gone: Result<(), hyper::Error> = connection.await;
        });
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    let content_type = http::HeaderValue::from_static(answer.content_type);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    response
}
