//! Drives the proxy that is first in PATH as `skopeo`, the way bootc does, and prints what came back.
//!
//!     proxy-client [--insecure] [--no-tls-verify] [--cert-dir DIR] [--authfile FILE] metadata IMAGE
//!     proxy-client [...] layers {stream|raw|plain} IMAGE
//!     proxy-client [...] optional IMAGE
//!
//! One JSON object goes to stdout after the proxy has ended with status 0; a failure goes to stderr and
//! ends with status 1. Every blob is hashed here: nothing of the crate's own checking is taken on trust.

use anyhow::{bail, ensure, Context, Result};
use containers_image_proxy::{BlobStreamSource, ImageProxy, ImageProxyConfig, OpenedImage};
use serde_json::{json, Value};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a blob turned out to be, by our own count and hash.
#[derive(PartialEq, Debug)]
struct Seen {
    bytes: u64,
    digest: String,
}

async fn read_all(mut reader: impl AsyncRead + Unpin) -> Result<Seen> {
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 128 * 1024]);
    loop {
        let n = reader.read(&mut buffer).await?;
        if n == 0 {
            let digest = format!("sha256:{}", hex::encode(hash.finalize()));
            return Ok(Seen { bytes, digest });
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
    }
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

async fn metadata(proxy: &ImageProxy, image: &OpenedImage) -> Result<Value> {
    let (digest, raw) = proxy.fetch_manifest_raw_oci(image).await?;
    let config = proxy.fetch_config_raw(image).await?;
    let (_, manifest) = proxy.fetch_manifest(image).await?;
    let typed = proxy.fetch_config(image).await?;
    let infos = proxy.get_layer_info(image).await?.context("no layer info")?;
    let infos: Vec<Value> = infos
        .iter()
        .map(|l| json!({"digest": l.digest.to_string(), "size": l.size, "mediaType": l.media_type.to_string()}))
        .collect();
    Ok(json!({
        "protocol": proxy.protocol_version().to_string(),
        "manifestDigest": digest,
        "manifestSha256": sha256(&raw),
        "configSha256": sha256(&config),
        "configDescriptor": manifest.config().digest().to_string(),
        "architecture": typed.architecture().to_string(),
        "diffIds": typed.rootfs().diff_ids().iter().map(|d| d.to_string()).collect::<Vec<_>>(),
        "layerInfo": infos,
    }))
}

async fn layers(proxy: &ImageProxy, image: &OpenedImage, how: &str) -> Result<Value> {
    let (_, manifest) = proxy.fetch_manifest(image).await?;
    let mut fetched = Vec::new();
    for layer in manifest.layers() {
        let (digest, size) = (layer.digest(), layer.size());
        let seen = match how {
            "stream" => {
                let stream = proxy.get_blob_stream(image, digest, size).await?;
                ensure!(stream.source() == BlobStreamSource::GetRawBlob, "the stream fell back to GetBlob");
                let (reader, driver) = stream.into_parts();
                let (seen, done) = tokio::join!(read_all(reader), driver);
                done.context("the stream's driver")?;
                seen?
            }
            "raw" => {
                let (length, reader, error) = proxy.get_raw_blob(image, digest).await?;
                let (seen, error) = tokio::join!(read_all(reader), error);
                error.context("the error pipe")?;
                let seen = seen?;
                ensure!(length.is_none_or(|n| n == seen.bytes), "announced {length:?}, got {seen:?}");
                seen
            }
            "plain" => {
                let (reader, driver) = proxy.get_blob(image, digest, size).await?;
                let (seen, done) = tokio::join!(read_all(reader), driver);
                done.context("FinishPipe")?;
                seen?
            }
            other => bail!("no such way to fetch a layer: {other}"),
        };
        let wanted = Seen { bytes: size, digest: digest.to_string() };
        ensure!(seen == wanted, "wanted {wanted:?}, got {seen:?}");
        fetched.push(json!({"digest": seen.digest, "size": seen.bytes}));
    }
    Ok(json!({"how": how, "layers": fetched}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut config = ImageProxyConfig::default();
    let mut words = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--insecure" => config.insecure_policy = Some(true),
            "--no-tls-verify" => config.insecure_skip_tls_verification = Some(true),
            "--cert-dir" => config.certificate_directory = Some(args.next().context("no directory")?.into()),
            "--authfile" => config.authfile = Some(args.next().context("no file")?.into()),
            _ => words.push(arg),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let proxy = ImageProxy::new_with_config(config).await?;
    let answer = match words.as_slice() {
        ["optional", name] => {
            let image = proxy.open_image_optional(name).await?;
            let found = image.is_some();
            if let Some(image) = image {
                proxy.close_image(&image).await?;
            }
            json!({"found": found})
        }
        ["metadata", name] => {
            let image = proxy.open_image(name).await?;
            let answer = metadata(&proxy, &image).await?;
            proxy.close_image(&image).await?;
            answer
        }
        ["layers", how, name] => {
            let image = proxy.open_image(name).await?;
            let answer = layers(&proxy, &image, how).await?;
            proxy.close_image(&image).await?;
            answer
        }
        _ => bail!(
            "usage: proxy-client [OPTIONS] metadata IMAGE | layers stream|raw|plain IMAGE | optional IMAGE"
        ),
    };
    proxy.finalize().await.context("the proxy's end")?;
    println!("{answer}");
    Ok(())
}
