//! Drives the daemon with real S3 clients: each Python module of `tests/s3/` starts a development
//! daemon on SoftHSM and runs against it with boto3, signed raw requests, or the aws command line.

mod python;

#[test]
fn encryption_contract_holds_for_boto3_and_raw_requests() {
    run("test_encryption");
}

#[test]
fn every_row_about_objects_holds() {
    run("test_contract_encryption");
}

#[test]
fn every_row_about_versions_holds() {
    run("test_contract_versioning");
}

#[test]
fn every_row_about_policies_holds() {
    run("test_contract_policy");
}

#[test]
fn every_row_about_uploads_in_parts_holds() {
    run("test_contract_multipart");
}

#[test]
fn every_row_about_attributes_holds() {
    run("test_contract_attributes");
}

#[test]
fn every_row_about_the_archive_holds() {
    run("test_contract_archive");
}

#[test]
fn every_row_about_named_keys_holds() {
    run("test_contract_kms");
}

#[test]
fn every_row_about_forms_holds() {
    run("test_contract_post");
}

#[test]
fn every_object_has_a_checksum_and_shows_it() {
    run("test_checksums");
}

#[test]
fn forms_are_taken_as_clients_of_ceph_post_them() {
    run("test_post_ceph");
}

#[test]
fn every_row_about_transport_and_closed_servers_holds() {
    run("test_contract_transport");
}

#[test]
fn every_row_about_bucket_defaults_holds() {
    run("test_contract_bucket_encryption");
}

#[test]
fn clients_of_ceph_get_the_answers_they_expect() {
    run("test_contract_ceph");
}

#[test]
fn objects_and_listings_are_what_boto3_expects() {
    run("test_objects");
}

#[test]
fn access_is_what_policies_acls_and_owners_say() {
    run("test_access");
}

#[test]
fn presigned_urls_do_what_their_signer_said() {
    run("test_presigned");
}

#[test]
fn bodies_are_what_their_headers_announce() {
    run("test_announced");
}

#[test]
fn settings_of_buckets_are_what_boto3_expects() {
    run("test_buckets");
}

#[test]
fn the_default_encryption_of_buckets_is_what_boto3_expects() {
    run("test_bucket_encryption");
}

#[test]
fn plain_objects_exist_only_where_an_operator_let_them() {
    run("test_plaintext");
}

#[test]
fn versions_markers_and_tags_are_what_boto3_expects() {
    run("test_versioning");
}

#[test]
fn uploads_in_parts_are_what_boto3_expects() {
    run("test_multipart");
}

#[test]
fn objects_are_put_under_another_key_where_they_are() {
    run("test_update_encryption");
}

#[test]
fn random_histories_with_kills_are_those_of_the_model() {
    run("test_model");
}

#[test]
fn rules_expire_move_and_restore_objects_without_a_key() {
    run("test_lifecycle");
}

#[test]
fn what_is_locked_cannot_be_removed() {
    run("test_object_lock");
}

#[test]
fn keys_that_requests_name_wrap_and_open_what_they_are_named_for() {
    run("test_kms");
}

#[test]
fn forms_do_what_their_policy_allows() {
    run("test_post");
}

#[test]
fn the_aws_command_line_works_unchanged() {
    run("test_aws_cli");
}

#[test]
fn nothing_secret_rests_on_the_disk() {
    run("test_canary");
}

#[test]
fn overwriters_readers_and_verify_at_once_see_whole_objects() {
    run("test_churn");
}

#[test]
fn streams_at_a_byte_a_second_cost_little_and_disturb_nobody() {
    run("test_slow_clients");
}

#[test]
fn no_customer_key_and_no_pin_is_left_in_memory() {
    run("test_memory");
}

#[test]
fn without_the_hsm_everything_fails_closed_and_recovers_alone() {
    run("test_hsm_away");
}

fn run(module: &str) {
    python::run("s3", module);
}
