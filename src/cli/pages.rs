//! Lists that the service answers page by page, as one.

use tonic::{Response, Status};

use crate::pb;

/// The question for a list.
pub trait Listing: Clone {
    type Page;
    type Item;
    /// What the answer was computed from; the same for every page.
    type Basis;

    /// The entries of a page, the token of the next one, which is empty at the end, and the basis.
    fn open(page: Self::Page) -> (Vec<Self::Item>, String, Self::Basis);

    /// Asks for another page.
    fn turn(&mut self, token: String);
}

/// Asks for one page after another until there is none.
pub async fn all<L: Listing>(
    mut request: L,
    mut ask: impl AsyncFnMut(L) -> Result<Response<L::Page>, Status>,
) -> Result<(Vec<L::Item>, L::Basis), Status> {
    let mut items = Vec::new();
    loop {
        let (some, next, basis) = L::open(ask(request.clone()).await?.into_inner());
        items.extend(some);
        if next.is_empty() {
            return Ok((items, basis));
        }
        request.turn(next);
    }
}

/// The first so many, or all where there are fewer.
pub async fn first<L: Listing>(
    mut request: L,
    limit: usize,
    mut ask: impl AsyncFnMut(L) -> Result<Response<L::Page>, Status>,
) -> Result<Vec<L::Item>, Status> {
    let mut items = Vec::new();
    while items.len() < limit {
        let (some, next, _) = L::open(ask(request.clone()).await?.into_inner());
        items.extend(some);
        if next.is_empty() {
            break;
        }
        request.turn(next);
    }
    items.truncate(limit);
    Ok(items)
}

macro_rules! pages {
    ($($request:ident => $response:ident: $items:ident of $item:ident, $basis:ident;)*) => {$(
        impl Listing for pb::$request {
            type Page = pb::$response;
            type Item = pb::$item;
            type Basis = pb::$basis;

            fn open(page: pb::$response) -> (Vec<pb::$item>, String, pb::$basis) {
                (page.$items, page.next_page_token, page.computed_from.unwrap_or_default())
            }

            fn turn(&mut self, token: String) {
                self.page_token = token;
            }
        }
    )*};
}

pages! {
    ListFindingsRequest => ListFindingsResponse: findings of Finding, FindingBasis;
    ListProcessingRecordsRequest => ListProcessingRecordsResponse: records of ProcessingRecord, ProcessingBasis;
    ListProcessorRecordsRequest => ListProcessorRecordsResponse: records of ProcessorRecord, ProcessingBasis;
    ListRegisterEntriesRequest => ListRegisterEntriesResponse: entries of RegisterEntry, RegisterBasis;
    ListRegisterHistoryRequest => ListRegisterHistoryResponse: versions of RegisterVersion, RegisterBasis;
    ListSdksRequest => ListSdksResponse: sdks of Sdk, ProcessingBasis;
    ListTransfersRequest => ListTransfersResponse: lines of TransferLine, TransferBasis;
    ListUncoveredTransfersRequest => ListUncoveredTransfersResponse: lines of TransferLine, TransferBasis;
}

impl Listing for pb::ListUnmappedTermsRequest {
    type Page = pb::ListUnmappedTermsResponse;
    type Item = pb::UnmappedTerm;
    /// Position up to which the views had read.
    type Basis = u64;

    fn open(page: pb::ListUnmappedTermsResponse) -> (Vec<pb::UnmappedTerm>, String, u64) {
        (page.terms, page.next_page_token, page.computed_at)
    }

    fn turn(&mut self, token: String) {
        self.page_token = token;
    }
}

/// Lists that do not say what they were computed from: each item stands for itself.
macro_rules! plain_pages {
    ($($request:ident => $response:ident: $items:ident of $item:ident;)*) => {$(
        impl Listing for pb::$request {
            type Page = pb::$response;
            type Item = pb::$item;
            type Basis = ();

            fn open(page: pb::$response) -> (Vec<pb::$item>, String, ()) {
                (page.$items, page.next_page_token, ())
            }

            fn turn(&mut self, token: String) {
                self.page_token = token;
            }
        }
    )*};
}

plain_pages! {
    ListInstructionsRequest => ListInstructionsResponse: instructions of Instruction;
    ListPlanItemsRequest => ListPlanItemsResponse: items of PlanItem;
    ListPlansRequest => ListPlansResponse: plans of Plan;
}
