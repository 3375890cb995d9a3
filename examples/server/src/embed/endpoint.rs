//! An embedding service, called as `OpenAI` defines its `embeddings` endpoint.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use ureq::Agent;

use super::Embedder;
use crate::problem::{Problem, Result};

/// An embedding service. It is called by http: one beside the server, or a proxy that adds TLS and the key of the service.
#[derive(Debug)]
pub struct Endpoint {
    agent: Agent,
    url: String,
    model: String,
    dimension: usize,
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: [&'a str; 1],
}

#[derive(Deserialize)]
struct Reply {
    data: Vec<Datum>,
}

#[derive(Deserialize)]
struct Datum {
    embedding: Vec<f32>,
}

impl Endpoint {
    /// Returns the service at an address.
    ///
    /// # Errors
    ///
    /// The address does not begin with `http://`.
    pub fn new(url: &str, model: &str, dimension: usize) -> std::result::Result<Self, String> {
        if !url.starts_with("http://") {
            return Err(format!("the embedding service {url:?} does not begin with http://"));
        }
        let agent = Agent::config_builder().http_status_as_error(true).build().into();
        Ok(Self { agent, url: url.to_owned(), model: model.to_owned(), dimension })
    }
}

impl Embedder for Endpoint {
    fn dimension(&self) -> usize {
        self.dimension
    }

    fn embed(&self, text: &str, deadline: Instant) -> Result<Vec<f32>> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            return Err(Problem::late("no time was left to embed the text"));
        }
        let question = Question { model: &self.model, input: [text] };
        let request = self.agent.post(&self.url).config().timeout_global(Some(left)).build();
        let reply =
            request.send_json(&question).and_then(|mut r| r.body_mut().read_json::<Reply>());
        let mut reply = reply.map_err(|error| match error {
            ureq::Error::Timeout(_) => Problem::late("the embedding service took too long"),
            error => {
                tracing::error!(%error, "the embedding service failed");
                Problem::unavailable("the embedding service does not answer; send a vector")
            }
        })?;
        match reply.data.pop() {
            Some(datum) if reply.data.is_empty() && datum.embedding.len() == self.dimension => {
                Ok(datum.embedding)
            }
            _ => {
                tracing::error!(
                    "the embedding service sent vectors of another number or dimension"
                );
                Err(Problem::unavailable(
                    "the embedding service sent no vector of the set dimension",
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one request with a body, and returns the request.
    fn answer(body: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/embeddings", listener.local_addr().unwrap());
        let service = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut part) = (String::new(), [0; 4096]);
            while !request.ends_with('}') {
                let count = stream.read(&mut part).unwrap();
                request.push_str(std::str::from_utf8(&part[..count]).unwrap());
            }
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            write!(stream, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
            request
        });
        (url, service)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn a_service_is_asked_as_openai_defines_it() {
        let (url, service) =
            answer(r#"{"data":[{"index":0,"embedding":[0.25,-1.0]}],"model":"m"}"#);
        let endpoint = Endpoint::new(&url, "m", 2).unwrap();
        assert_eq!(endpoint.embed("some text", soon()).unwrap(), [0.25, -1.0]);
        let request = service.join().unwrap();
        assert!(request.starts_with("POST /v1/embeddings HTTP/1.1\r\n"), "{request}");
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, serde_json::json!({ "model": "m", "input": ["some text"] }));
    }

    #[test]
    fn a_wrong_dimension_and_a_silent_service_are_refused() {
        let (url, service) = answer(r#"{"data":[{"embedding":[0.25]}]}"#);
        let refused = Endpoint::new(&url, "m", 2).unwrap().embed("text", soon()).unwrap_err();
        assert_eq!(refused.status(), 503);
        service.join().unwrap();

        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let endpoint = Endpoint::new(&url, "m", 2).unwrap();
        let deadline = Instant::now() + Duration::from_millis(100);
        assert_eq!(endpoint.embed("text", deadline).unwrap_err().status(), 504);
        assert_eq!(endpoint.embed("text", deadline).unwrap_err().status(), 504);
        assert!(Endpoint::new("https://example.org/", "m", 2).is_err());
    }
}
