//! The flags of the chat page.

use std::path::PathBuf;

use clap::Args;
use matryoshka_presence::channel::pubsub::NodeName;

use super::value::file_path;
use crate::page::{AssetsError, Page};
use crate::page_link::PageLink;

/// The chat page.
#[derive(Debug, Args)]
pub(crate) struct PageFlags {
    /// Folder with the official client's browser files for the page
    #[arg(long, env = "MATRYOSHKA_ASSETS", value_name = "DIR", value_parser = file_path)]
    assets: Option<PathBuf>,

    /// Another node that the page links to; repeatable
    #[arg(long, env = "MATRYOSHKA_PAGE_LINK", value_name = "NAME=URL", value_delimiter = ',', value_parser = page_link)]
    page_link: Vec<PageLink>,
}

impl PageFlags {
    /// The page of the node `name`.
    ///
    /// # Errors
    ///
    /// [`AssetsError`] if the folder does not hold the file that the page imports.
    pub(crate) fn open(&self, name: &NodeName) -> Result<Page, AssetsError> {
        let links = self.page_link.clone();
        Page::open(self.assets.as_deref(), name.to_string(), links)
    }
}

fn page_link(value: &str) -> Result<PageLink, String> {
    value.parse().map_err(|()| {
        "it takes a node name and its page's address, such as n2=http://127.0.0.1:4001".to_owned()
    })
}
