//! The examination that every implementation of [`Metadata`](crate::Metadata) passes: what the interface promises,
//! asked through the interface alone, concurrent callers included.
//!
//! ```ignore
//! async fn fresh() -> (TempDir, Arc<dyn Metadata>) { … }
//! wharf_meta::metadata_contract!(fresh);
//! ```
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod backing_up;
pub mod blobs;
pub mod browsing;
pub mod checking;
pub mod collecting;
pub(crate) mod fixture;
pub mod identities;
pub mod life;
pub mod lists;
pub mod locations;
pub mod manifests;
pub mod pushes;
pub mod undo;
pub mod uploads;
pub mod usage;

/// One test for each case of the suite. `$fresh` is an asynchronous function that answers a pair: something to keep
/// until the test is over, and an empty `Arc<dyn Metadata>`.
#[macro_export]
macro_rules! metadata_contract {
    ($fresh:path) => {
        $crate::metadata_contract!(@file $fresh, uploads:
            s013_a_session_is_one_owners_in_one_repository_until_it_expires,
            r021_offset_and_hash_state_advance_together,
            r022_an_advance_is_a_compare_and_set,
            r022_of_concurrent_advances_one_wins,
            p190_only_an_open_session_is_cancelled,
            p146_each_limit_counts_open_unexpired_sessions,
            p146_limits_hold_under_concurrency,
            r023_a_session_is_removed_only_when_its_time_is_over,
            p184_completion_ends_the_session_and_is_remembered,
            r023_completion_needs_its_session,
            r023_completion_and_expiry_exclude_each_other,
        );
        $crate::metadata_contract!(@file $fresh, blobs:
            s011_a_blob_is_known_only_where_it_was_recorded,
            p183_a_blob_is_recorded_many_times_at_once,
            s012_a_mount_needs_the_source,
            p160_a_mount_outlives_its_source,
            p155_repositories_with_a_blob,
            f03_deleting_a_blob_ends_one_association,
            p135_a_referenced_blob_is_deletable_and_comes_back,
        );
        $crate::metadata_contract!(@file $fresh, browsing:
            repositories_are_found_by_a_part_of_their_names,
            repositories_are_summed_up,
            tags_are_told_with_what_they_hold,
            a_manifest_is_told_with_what_depends_on_it,
            content_is_counted,
            s038_sessions_are_kept_and_ended,
            s065_a_sign_in_is_taken_once,
        );
        $crate::metadata_contract!(@file $fresh, usage:
            a_day_has_one_sample,
            repositories_are_added_up,
            a_pull_is_noted_once_and_never_earlier,
            a_change_is_claimed_once,
            the_oldest_claims_make_room,
        );
        $crate::metadata_contract!(@file $fresh, pushes:
            p209_a_push_is_pullable_by_digest_and_tag,
            p223_missing_blobs_refuse_the_push,
            s017_a_blob_of_another_repository_does_not_count,
            p225_children_are_manifests_or_blobs,
            p226_missing_references_may_be_allowed,
            p232_a_repeated_push_changes_nothing,
            b054_the_same_bytes_under_another_media_type_conflict,
            p237_all_tags_move_or_none,
            p233_conditions_are_decided_on_the_tag,
            p232_concurrent_pushes_to_one_tag_all_succeed,
            p233_of_concurrent_creations_one_wins,
            p233_of_concurrent_replacements_one_wins,
        );
        $crate::metadata_contract!(@file $fresh, manifests:
            p200_a_manifest_is_known_only_where_it_was_pushed,
            p207_a_moved_tag_leaves_the_manifest,
            f02_deleting_a_manifest_takes_its_tags_along,
            f02_of_concurrent_deletions_one_finds_it,
            p246_at_most_five_parents_are_named,
            p253_a_deleted_manifest_can_be_pushed_again,
            p250_deleting_a_tag_leaves_the_manifest,
            r010_a_manifest_never_shows_half_a_push,
        );
        $crate::metadata_contract!(@file $fresh, lists:
            p257_tags_are_listed_in_byte_order,
            p261_tag_pages_follow_any_text,
            p256_an_unknown_repository_is_not_one_without_tags,
            p283_the_catalog_lists_repositories_with_a_manifest,
            p273_referrers_are_those_of_the_repository_and_the_exact_subject,
            p278_referrers_are_listed_by_push_time_then_digest,
            p274_referrers_are_filtered_by_artifact_type,
            p271_a_referrer_shows_its_descriptor,
            p247_a_deleted_referrer_is_not_listed_and_a_deleted_subject_changes_nothing,
        );
        $crate::metadata_contract!(@file $fresh, identities:
            an_account_is_kept_as_it_was_made,
            an_account_changes_only_where_it_is_told_to,
            the_last_administrator_stays,
            s036_a_token_is_found_by_the_hash_of_its_secret,
            an_account_has_so_many_tokens_of_a_kind,
            s010_a_token_is_deleted_by_its_own_account_or_for_all,
            there_is_one_first_key_and_new_ones_retire_the_old,
            f08_enabled_rules_are_loaded_in_priority_order,
            a_rule_changes_only_from_the_version_that_was_read,
            s009_every_change_is_counted,
            s076_records_are_written_in_their_order_as_they_are,
        );
        $crate::metadata_contract!(@file $fresh, locations:
            a_push_elsewhere_replaces_what_was_recorded,
            what_is_forgotten_says_where_it_lies,
            what_could_not_be_recorded_is_to_go,
            content_is_set_aside_where_it_was_seen,
        );
        $crate::metadata_contract!(@file $fresh, collecting:
            what_nothing_references_goes_step_by_step,
            gr8_what_a_manifest_references_stays,
            gr4_content_goes_with_its_last_link,
            gr15_a_manifest_holds_content_without_a_link,
            gr5_a_push_saves_condemned_content,
            gr6_a_note_does_not_outlive_a_new_push,
            gr9_a_look_keeps_what_is_nearly_due,
            an_entry_only_moves_later,
            a_preview_says_what_a_review_would_do,
            holds_stand_until_their_time,
            what_was_removed_is_listed_for_a_while,
            an_untagged_manifest_is_retired_unless_something_needs_it,
            gr12_a_tag_that_moves_again_begins_the_wait_anew,
            a_walk_finds_manifests_that_never_had_a_tag,
            gr36_nothing_is_forgotten_while_a_hold_stands,
            r061_a_hold_is_renewed_only_while_it_stands,
        );
        $crate::metadata_contract!(@file $fresh, backing_up:
            r060_a_snapshot_is_one_moment,
            r060_a_snapshot_is_taken_while_everybody_writes,
            there_is_one_snapshot_at_a_time,
            r063_no_key_is_in_a_snapshot,
            content_comes_back,
        );
        $crate::metadata_contract!(@file $fresh, checking:
            pages_of_any_length_hold_all_rows_once,
            r024_only_what_no_row_names_is_unnamed,
            damaged_content_waits_for_a_push,
            damaged_content_is_collected,
            what_was_verified_longest_ago_is_due_first,
            a_review_is_entered_only_where_none_is_and_none_needed,
            only_needed_content_is_rescued,
            a_manifest_is_described_again,
            ft09_the_same_push_replaces_other_bytes,
            a_sweep_is_planned,
            a_session_is_ended,
        );
        $crate::metadata_contract!(@file $fresh, undo:
            a_tag_has_a_history,
            a_deleted_manifest_comes_back_with_its_tags,
            a_deletion_can_be_undone_until_its_time,
            gr28_a_restored_manifest_has_its_blobs,
        );
        $crate::metadata_contract!(@file $fresh, life:
            b138_a_database_belongs_to_one_store,
            r050_the_clocks_mark_is_kept,
            a_sound_database_has_no_damage,
            a_ping_is_answered,
            after_close_nothing_is_answered,
        );
    };
    (@file $fresh:path, $file:ident: $($case:ident,)+) => {
        mod $file {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let (_kept, metadata) = $fresh().await;
                    $crate::contract::$file::$case(metadata).await;
                }
            )+
        }
    };
}
