-- The first schema. Digests are their canonical text, times are UTC microseconds, ids that leave the process are UUIDv7
-- text; integer keys stay inside. Tables whose key is not an integer are stored in the order of that key, so that their
-- key needs no second b-tree. An index stands here only with the look-up that needs it: each random one slows every
-- push of a large registry.

-- Which migrations made this database, in order. `sha256` is that of the migration's text.
create table migrations (
    number         integer primary key,
    name           text    not null,
    sha256         text    not null,
    applied_at_us  integer not null
) strict;

-- Facts about the database itself; one row. A binary may use the database if `readable_by` is at most the number of
-- the newest schema it knows.
create table meta (
    id              integer primary key check (id = 1),
    schema_version  integer not null,
    readable_by     integer not null,
    store_id        text,
    clock_high_us   integer not null default 0,
    clean_shutdown  integer not null default 1 check (clean_shutdown in (0, 1))
) strict;

-- Names and content ---------------------------------------------------------------------------------------------------

create table repositories (
    id             integer primary key,
    name           text    not null unique check (name <> ''),
    description    text    not null default '',
    created_at_us  integer not null
) strict;

-- Content, shared by all repositories. `live` alone may be served. `missing` is content that a manifest names although
-- nobody has placed it here (only where configuration allows that): the row lets `manifest_blobs` hold it when it comes.
create table blobs (
    id               integer primary key,
    digest           text    not null unique,
    size_bytes       integer check (size_bytes >= 0),
    state            text    not null check (state in ('live', 'deleting', 'quarantined', 'missing')),
    created_at_us    integer not null,
    delete_after_us  integer,
    verified_at_us   integer,
    storage_key      text,
    check (size_bytes is not null or state in ('missing', 'deleting')),
    check ((delete_after_us is not null) = (state = 'deleting'))
) strict;

-- Where a bucket's content lies: each key is used once. In a directory the digest says it, and this is null.
create unique index blobs_by_storage_key on blobs (storage_key) where storage_key is not null;

create index blobs_to_delete on blobs (delete_after_us) where state = 'deleting';

-- What was verified longest ago: the scrub. New content goes to its end.
create index blobs_by_verification on blobs (verified_at_us) where state = 'live';

-- What is damaged or lost: few, and looked for often.
create index blobs_set_aside on blobs (id) where state = 'quarantined';

-- This repository may serve this blob.
create table repository_blobs (
    repository_id  integer not null references repositories (id),
    blob_id        integer not null references blobs (id),
    created_at_us  integer not null,
    created_by     text    not null,
    primary key (repository_id, blob_id)
) strict, without rowid;

-- Which repositories have a blob: anonymous mount, collection.
create index repository_blobs_by_blob on repository_blobs (blob_id);

-- `body` stands last, so that everything else is read without touching its pages.
create table manifests (
    id                 integer primary key,
    repository_id      integer not null references repositories (id),
    digest             text    not null,
    media_type         text    not null,
    artifact_type      text,
    subject_digest     text,
    config_digest      text,
    annotations        text    check (json_valid(annotations)),
    pushed_at_us       integer not null,
    pushed_by          text    not null,
    last_pulled_at_us  integer,
    body               blob    not null,
    unique (repository_id, digest)
) strict;

-- Referrers of a subject in the order in which they are listed.
create index manifests_by_subject on manifests (repository_id, subject_digest, pushed_at_us, digest)
    where subject_digest is not null;

-- What a manifest holds: config, layers, and those children of an index that are blobs rather than manifests.
create table manifest_blobs (
    manifest_id    integer not null references manifests (id) on delete cascade,
    blob_id        integer not null references blobs (id),
    repository_id  integer not null,
    primary key (manifest_id, blob_id)
) strict, without rowid;

-- Who holds a blob, in a repository or anywhere: collection asks it of base layers that very many manifests share.
create index manifest_blobs_by_blob on manifest_blobs (blob_id, repository_id);

-- What an index lists. A child is named by its digest, because it may be a blob, and may be deleted before its parent.
create table manifest_children (
    manifest_id    integer not null references manifests (id) on delete cascade,
    child_digest   text    not null,
    repository_id  integer not null,
    primary key (manifest_id, child_digest)
) strict, without rowid;

-- Which indexes of a repository list a manifest: the warning on its deletion, retention.
create index manifest_children_by_child on manifest_children (repository_id, child_digest);

create table tags (
    repository_id  integer not null references repositories (id),
    name           text    not null,
    manifest_id    integer not null references manifests (id) on delete cascade,
    version        integer not null check (version > 0),
    updated_at_us  integer not null,
    updated_by     text    not null,
    primary key (repository_id, name)
) strict, without rowid;

-- The tags of a manifest: its deletion, and the cascade itself.
create index tags_by_manifest on tags (manifest_id, name);

-- Every move and removal of a tag. `version` grows by one with each, also across a removal.
create table tag_history (
    repository_id  integer not null references repositories (id),
    name           text    not null,
    version        integer not null check (version > 0),
    from_digest    text,
    to_digest      text,
    changed_at_us  integer not null,
    changed_by     text    not null,
    primary key (repository_id, name, version),
    check (from_digest is not null or to_digest is not null)
) strict, without rowid;

-- Manifests that can still be restored, with the tags they had (a JSON array).
create table deleted_manifests (
    repository_id   integer not null references repositories (id),
    digest          text    not null,
    media_type      text    not null,
    tags            text    not null check (json_valid(tags)),
    deleted_at_us   integer not null,
    deleted_by      text    not null,
    restorable_until_us  integer not null,
    body            blob    not null,
    primary key (repository_id, digest)
) strict;

create index deleted_manifests_by_end on deleted_manifests (restorable_until_us);

-- Upload sessions. The repository is a name: it need not exist before content is recorded. A finished session is
-- remembered until it expires, so that a repeated completion gets the same answer.
create table uploads (
    id             text    primary key,
    repository     text    not null,
    owner          text    not null,
    algorithm      text    not null,
    state          text    not null check (state in ('open', 'done')),
    offset_bytes   integer not null default 0 check (offset_bytes >= 0),
    hash_state     blob,
    patches        integer not null default 0 check (patches >= 0),
    digest         text,
    parts          text    check (json_valid(parts)),
    storage_key    text,
    started_at_us  integer not null,
    expires_at_us  integer not null,
    check ((digest is not null) = (state = 'done'))
) strict, without rowid;

create index uploads_open_by_repository on uploads (repository, expires_at_us) where state = 'open';
create index uploads_open_by_owner on uploads (owner, expires_at_us) where state = 'open';
create index uploads_by_end on uploads (expires_at_us);

-- Collection ----------------------------------------------------------------------------------------------------------

-- "Look at this association, or this manifest, after `due_at_us`." An entry only ever moves later.
create table gc_reviews (
    repository_id  integer not null references repositories (id),
    kind           text    not null check (kind in ('blob', 'manifest')),
    digest         text    not null,
    due_at_us      integer not null,
    tries          integer not null default 0,
    primary key (repository_id, kind, digest)
) strict, without rowid;

create index gc_reviews_due on gc_reviews (kind, due_at_us);

-- Content whose row is already gone, and whose bytes may still be there.
create table gc_removals (
    key         text    primary key,
    digest      text,
    reason      text    not null,
    size_bytes  integer not null default 0 check (size_bytes >= 0),
    due_at_us   integer not null
) strict, without rowid;

create index gc_removals_due on gc_removals (due_at_us);

-- What was removed, for a month: where did it go? A line is begun when content is condemned, because only then is it known
-- which repository had it last, and shown when the content is removed.
create table gc_log (
    id               integer primary key,
    digest           text    not null,
    size_bytes       integer not null check (size_bytes >= 0),
    repository       text,
    reason           text    not null,
    condemned_at_us  integer not null,
    removed_at_us    integer
) strict;

create unique index gc_log_open on gc_log (digest) where removed_at_us is null;
create index gc_log_removed on gc_log (removed_at_us) where removed_at_us is not null;
create index gc_log_by_digest on gc_log (digest, removed_at_us);

-- While one of these stands, nothing is collected.
create table gc_holds (
    id        text    primary key,
    reason    text    not null,
    until_us  integer not null
) strict, without rowid;

-- Rules and identities ------------------------------------------------------------------------------------------------

-- How often each kind of thing has changed: what a replica has in memory is as new as the number it was read at.
create table changes (
    kind     text    primary key check (kind in ('rules', 'identities', 'keys')),
    version  integer not null
) strict, without rowid;

insert into changes (kind, version) values ('rules', 0), ('identities', 0), ('keys', 0);

-- `rule_json` is checked when it is written. A row that has been damaged since then stays readable, so that it can be
-- reported (S-003).
create table policy_rules (
    id             text    primary key,
    priority       integer not null,
    enabled        integer not null default 1 check (enabled in (0, 1)),
    rule_json      text    not null,
    description    text    not null default '',
    version        integer not null default 1 check (version > 0),
    created_at_us  integer not null,
    created_by     text    not null,
    updated_at_us  integer not null,
    updated_by     text    not null
) strict, without rowid;

create index policy_rules_in_order on policy_rules (priority, id);

-- `settings_json`: immutability, retention, quota, signature requirement, proxy upstream.
create table repository_settings (
    pattern        text    primary key,
    settings_json  text    not null check (json_valid(settings_json)),
    updated_at_us  integer not null,
    updated_by     text    not null
) strict, without rowid;

create table accounts (
    id             text    primary key,
    name           text    not null unique,
    account_type   text    not null check (account_type in ('human', 'system')),
    roles          text    not null default '[]' check (json_valid(roles)),
    password_hash  text,
    enabled        integer not null default 1 check (enabled in (0, 1)),
    created_at_us  integer not null,
    created_by     text    not null,
    updated_at_us  integer not null
) strict, without rowid;

-- Who can administer: there is always somebody.
create index accounts_admins on accounts (name) where enabled = 1 and instr(roles, '"admin"') > 0;

-- `secret_sha256` is all that is kept of a token. `refresh` tokens are those that `docker login` keeps.
create table api_tokens (
    id               text    primary key,
    account_id       text    not null references accounts (id) on delete cascade,
    kind             text    not null check (kind in ('api', 'refresh')),
    secret_sha256    blob    not null unique check (length(secret_sha256) = 32),
    description      text    not null default '',
    scopes           text    not null default '[]' check (json_valid(scopes)),
    networks         text    not null default '[]' check (json_valid(networks)),
    created_at_us    integer not null,
    created_by       text    not null,
    expires_at_us    integer not null,
    last_used_at_us  integer
) strict, without rowid;

create index api_tokens_by_account on api_tokens (account_id, kind, id);
create index api_tokens_by_end on api_tokens (expires_at_us);

-- Sessions of the web pages, by the hash of what the browser holds. `sealed_token` is the token of another provider, under a
-- key that is made from what the browser holds and kept nowhere.
create table sessions (
    id_sha256      blob    primary key check (length(id_sha256) = 32),
    principal      text    not null,
    provider       text    not null,
    subject        text    not null,
    account_type   text    not null check (account_type in ('human', 'system')),
    roles          text    not null check (json_valid(roles)),
    sealed_token   blob,
    source         text    not null,
    created_at_us  integer not null,
    seen_at_us     integer not null,
    ends_at_us     integer not null
) strict, without rowid;

create index sessions_by_principal on sessions (principal, seen_at_us);
create index sessions_by_use on sessions (seen_at_us);
create index sessions_by_end on sessions (ends_at_us);

-- Sign-ins that were sent to another provider and have not come back. The id is the hash of what the browser holds, and all
-- else that finishes one is made from that; so nothing here is of use to anybody.
create table sign_ins (
    id_sha256      blob    primary key check (length(id_sha256) = 32),
    provider       text    not null,
    redirect_uri   text    not null,
    next           text    not null,
    created_at_us  integer not null
) strict, without rowid;

create index sign_ins_by_age on sign_ins (created_at_us);

-- Changes that were asked for with a key of the client's, so that the same one sent again is answered and not carried out
-- again. `answer` is sealed under that key, of which only the hash is here; null until the first one is answered.
create table kept_answers (
    principal       text    not null,
    key_sha256      blob    not null check (length(key_sha256) = 32),
    request_sha256  blob    not null check (length(request_sha256) = 32),
    answer          blob,
    created_at_us   integer not null,
    primary key (principal, key_sha256)
) strict, without rowid;

create index kept_answers_of_principal on kept_answers (principal, created_at_us);
create index kept_answers_by_age on kept_answers (created_at_us);

create table signing_keys (
    id             text    primary key,
    algorithm      text    not null,
    private_key    blob    not null,
    sealed         integer not null default 0 check (sealed in (0, 1)),
    created_at_us  integer not null,
    signs_from_us  integer not null,
    retired_at_us  integer
) strict, without rowid;

-- How much there is --------------------------------------------------------------------------------------------------

-- Once a day, for 400 days. `day` counts from 1970-01-01.
create table storage_samples (
    day              integer primary key,
    sampled_at_us    integer not null,
    repositories     integer not null check (repositories >= 0),
    blobs            integer not null check (blobs >= 0),
    bytes            integer not null check (bytes >= 0),
    unshared_bytes   integer not null check (unshared_bytes >= 0),
    condemned_bytes  integer not null check (condemned_bytes >= 0)
) strict;

-- The largest repositories when that was sampled last, by their names then.
create table largest_repositories (
    rank        integer primary key,
    repository  text    not null,
    blobs       integer not null check (blobs >= 0),
    bytes       integer not null check (bytes >= 0)
) strict;

-- What happened and what is announced ---------------------------------------------------------------------------------

create table audit_log (
    sequence      integer primary key autoincrement,
    request_id    text    not null,
    at_us         integer not null,
    principal     text    not null,
    account_type  text    not null,
    source        text    not null,
    action        text    not null,
    repository    text,
    target        text,
    outcome       text    not null,
    rule_id       text,
    detail        text,
    sha256        blob    check (length(sha256) = 32)
) strict;

create index audit_by_principal on audit_log (principal, sequence);
create index audit_by_repository on audit_log (repository, sequence) where repository is not null;

-- A seal covers the records up to `last_sequence` that the one before it does not. `sha256` of the last record is that
-- of the seal, so the records and the seals are one chain (S-078).
create table audit_seals (
    last_sequence    integer primary key,
    records          integer not null check (records > 0),
    sha256           blob    not null check (length(sha256) = 32),
    previous_sha256  blob    not null check (length(previous_sha256) = 32),
    sealed_at_us     integer not null
) strict;

-- The outbox: webhooks and replication deliver from it, at least once.
create table events (
    sequence       integer primary key autoincrement,
    id             text    not null unique,
    kind           text    not null,
    repository     text    not null,
    payload        text    not null check (json_valid(payload)),
    created_at_us  integer not null
) strict;

-- Of replicas that share a database; an embedded one has no others.
create table leases (
    name      text    primary key,
    holder    text    not null,
    until_us  integer not null
) strict, without rowid;

create table jobs (
    id             text    primary key,
    kind           text    not null,
    state          text    not null check (state in ('due', 'running', 'done', 'failed')),
    payload        text    not null check (json_valid(payload)),
    due_at_us      integer not null,
    tries          integer not null default 0,
    created_at_us  integer not null,
    updated_at_us  integer not null
) strict, without rowid;

create index jobs_due on jobs (due_at_us) where state = 'due';
