//! The flags of who a node is to the others: a cluster secret, or certificates of one's own.

use std::path::PathBuf;

use clap::Args;

use super::refusal::FlagError;
use super::value::file_path;
use crate::identity::PkiFiles;

/// The environment variable that holds the cluster's secrets themselves, comma between.
pub(crate) const SECRET_VARIABLE: &str = "MATRYOSHKA_CLUSTER_SECRET";

/// Who a node is in its cluster.
#[derive(Debug, Args)]
pub(crate) struct IdentityFlags {
    /// File with one or more cluster secrets, one a line (or the secrets themselves in
    /// MATRYOSHKA_CLUSTER_SECRET, comma between): the first issues, all are accepted, and the file is read again on
    /// SIGHUP; `matryoshka-node secret` prints a fresh one
    #[arg(
        long,
        env = "MATRYOSHKA_CLUSTER_SECRET_FILE",
        value_name = "FILE",
        value_parser = file_path
    )]
    pub(crate) cluster_secret_file: Option<PathBuf>,

    /// Instead of a secret: file with the certificates of your own authorities, PEM
    #[arg(long, env = "MATRYOSHKA_TLS_CA", value_name = "FILE", value_parser = file_path)]
    tls_ca: Option<PathBuf>,

    /// With --tls-ca: file with this node's certificate, and those between it and an authority
    #[arg(long, env = "MATRYOSHKA_TLS_CERT", value_name = "FILE", value_parser = file_path)]
    tls_cert: Option<PathBuf>,

    /// With --tls-ca: file with the private key of this node's certificate
    #[arg(long, env = "MATRYOSHKA_TLS_KEY", value_name = "FILE", value_parser = file_path)]
    tls_key: Option<PathBuf>,
}

impl IdentityFlags {
    /// Certificates of one's own, if there are any.
    pub(crate) fn tls(&self) -> Option<PkiFiles> {
        Some(PkiFiles {
            ca: self.tls_ca.clone()?,
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
        })
    }

    /// Certificates come as three files or not at all, and never beside a secret.
    pub(super) fn check_relations(&self) -> Result<(), FlagError> {
        let files = [
            ("--tls-ca", &self.tls_ca),
            ("--tls-cert", &self.tls_cert),
            ("--tls-key", &self.tls_key),
        ];
        let given = files
            .iter()
            .find_map(|(flag, file)| Some((flag, file.as_ref()?)));
        let Some((flag, file)) = given else {
            return Ok(());
        };
        let missing: Vec<&str> = files
            .iter()
            .filter(|(_, file)| file.is_none())
            .map(|(flag, _)| *flag)
            .collect();
        if !missing.is_empty() {
            return Err(FlagError(format!(
                "{flag} {file:?} is not allowed without {}: give all three, or the cluster's secret instead",
                missing.join(" and ")
            )));
        }
        match &self.cluster_secret_file {
            None => Ok(()),
            Some(secret) => Err(FlagError(format!(
                "{flag} {file:?} is not allowed together with --cluster-secret-file {secret:?}: a node has either \
                 certificates of your own or the cluster's secret; leave one of them out"
            ))),
        }
    }
}
