//! A certificate authority of a user's own, and what it issues.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority, or one between an authority and its nodes.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The certificates of the authorities at the root.
    pub(crate) roots: String,
    /// What stands between its leaves and the root.
    chain: String,
}

/// What a node is given, as PEM.
#[derive(Clone)]
pub(crate) struct Papers {
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params_of_ca(name), key).unwrap();
        Self {
            roots: issuer.pem(),
            chain: String::new(),
            issuer,
        }
    }

    /// One that this one lets issue to nodes, for these purposes only if there are any.
    pub(crate) fn beneath(&self, name: &str, purposes: &[ExtendedKeyUsagePurpose]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params_of_ca(name);
        params.extended_key_usages = purposes.to_vec();
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap();
        Self {
            roots: self.roots.clone(),
            chain: issuer.pem() + &self.chain,
            issuer,
        }
    }

    /// Papers for the node called `name`, valid from yesterday for a month.
    pub(crate) fn papers(&self, name: &str) -> Papers {
        self.papers_with(name, |_| ())
    }

    /// The same, changed in some way.
    pub(crate) fn papers_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Papers {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![uri(&format!("matryoshka:node/{name}"))];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + 30 * DAY).into();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Papers {
            ca: self.roots.clone(),
            certificate: certificate.pem() + &self.chain,
            key: key.serialize_pem(),
        }
    }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn params_of_ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
