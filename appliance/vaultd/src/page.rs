//! The status page: one HTTPS page for whoever stands before the box. It shows, it changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use warp::Filter;

use crate::serve::Appliance;
use crate::status::Status;
use crate::units::{hours, size};

/// Most pages served at once.
const CONNECTIONS_MAX: usize = 32;
/// A browser that says nothing for so long is let go.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Starts serving; returns where.
pub(crate) async fn serve(appliance: Arc<Appliance>, address: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot serve the status page at {address}: choose another `page` in box.toml")
    })?;
    let bound = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(
        coffer_link::https_config(&appliance.identity).context("the box's certificate can't be used")?,
    );
    let routes = warp::get().and(warp::path::end()).map(move || page(&appliance)).boxed();
    let service = TowerToHyperService::new(warp::service(routes));
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    tokio::spawn(async move {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "a browser could not be accepted");
                    continue;
                }
            };
            let (acceptor, service) = (acceptor.clone(), service.clone());
            tokio::spawn(async move {
                let _place = place;
                let served = async {
                    let tls = acceptor.accept(socket).await?;
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service).await
                };
                if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, served).await {
                    tracing::debug!(%error, "a browser's connection ended");
                }
            });
        }
    });
    Ok(bound)
}

fn page(appliance: &Appliance) -> impl warp::Reply + use<> {
    let (code, body) = match Status::of(appliance) {
        Ok(status) => (warp::http::StatusCode::OK, render(&status)),
        Err(error) => (
            warp::http::StatusCode::INTERNAL_SERVER_ERROR,
            frame(
                "Coffer",
                &format!("<p class=bad>The box can't tell its state: {}</p>", escape(&error.to_string())),
            ),
        ),
    };
    let html = warp::reply::html(body);
    let closed = warp::reply::with_header(
        html,
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'",
    );
    warp::reply::with_status(warp::reply::with_header(closed, "cache-control", "no-store"), code)
}

/// Of the table of computers. On a narrow screen each is said before its cell.
const COLUMNS: [&str; 6] = ["Computer", "Backup", "State", "Data at risk", "Restore points", "Now"];

fn render(status: &Status) -> String {
    let mut out = String::new();
    if status.sentences.is_empty() {
        out.push_str("<p class=good>All is well. Nothing needs to be done.</p>");
    }
    for sentence in &status.sentences {
        out.push_str(&format!("<p class=bad>{}</p>", escape(sentence)));
    }
    for note in &status.notes {
        out.push_str(&format!("<p>{}</p>", escape(note)));
    }
    let heads: String = COLUMNS.iter().map(|head| format!("<th>{head}</th>")).collect();
    out.push_str(&format!("<table><tr>{heads}</tr>"));
    for computer in &status.computers {
        for config in &computer.configurations {
            let risk = match (config.at_risk_ms, config.protected_ms) {
                _ if computer.revoked => "not captured any more".into(),
                (Some(ms), _) => format!("changes of the last {}", hours(ms)),
                (None, Some(_)) => "not known".into(),
                (None, None) => "everything".into(),
            };
            let doing = status.doing.iter().find(|one| one.config == config.config);
            let now = match doing {
                Some(doing) if computer.connected => escape(&doing.doing),
                _ if computer.connected => "connected".into(),
                _ => "not connected".into(),
            };
            let (state, points) = (config.state.name().to_owned(), config.points.to_string());
            let cells = [escape(&computer.name), escape(&config.name), state, risk, points, now];
            let cell = |(head, cell): (&&str, &String)| format!("<td title='{head}'>{cell}</td>");
            let row: String = COLUMNS.iter().zip(&cells).map(cell).collect();
            out.push_str(&format!("<tr>{row}</tr>"));
        }
    }
    out.push_str("</table>");
    let tape = match status.not_on_tape {
        _ if !status.has_library => String::new(),
        0 => "Everything is on tape.".into(),
        count => format!("{count} segments ({}) wait for the next tape run.", size(status.not_on_tape_bytes)),
    };
    out.push_str(&format!(
        "<p>{} stored, {} free on this box. {tape}</p>",
        size(status.stored_bytes),
        size(status.free_bytes)
    ));
    frame(&status.name, &out)
}

fn frame(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <meta http-equiv=refresh content=10><title>Coffer: {title}</title><style>\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fbfbf9;overflow-wrap:anywhere}}\
         h1{{font-size:1.4rem}}table{{border-collapse:collapse;width:100%}}th,td{{text-align:left;padding:.45rem .8rem .45rem 0;border-bottom:1px solid #dcdfe3}}\
         p.good,p.bad{{padding:.6rem .9rem;border-left:.3rem solid;background:#fff}}p.good{{border-color:#2c7a4b}}p.bad{{border-color:#b3372a}}\
         @media(max-width:40rem){{th{{display:none}}tr,td{{display:block}}tr+tr{{padding:.6rem 0;border-bottom:1px solid #dcdfe3}}\
         td{{padding:.1rem 0;border:0}}td::before{{content:attr(title);display:inline-block;width:8.5rem;color:#5b6570}}}}\
         </style><h1>Coffer at {title}</h1>{body}</html>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
