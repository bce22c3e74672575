#!/bin/sh
# Prints the users of users.acl as a Redis or Valkey server reads them, with the SHA-256 of REDIS_PASSWORD_GATEWAY and so on.
# With REDISCLI_AUTH whoever has that password may do everything, as the user `default`.
set -eu

rules=$(sed -e '/^#/d' -e '/^$/d' "$(dirname "$0")/users.acl" | sed -e ':all' -e 'N' -e '$!ball' -e 's/\n  */ /g')
for user in gateway operator runner reader; do
  variable=REDIS_PASSWORD_$(echo "$user" | tr a-z A-Z)
  password=$(printenv "$variable") || { echo "$variable is not set" >&2; exit 1; }
  hash=$(printf %s "$password" | sha256sum | cut -c 1-64)
  rules=$(echo "$rules" | sed "s/ #$user / #$hash /")
done
if [ -n "${REDISCLI_AUTH:-}" ]; then
  hash=$(printf %s "$REDISCLI_AUTH" | sha256sum | cut -c 1-64)
  rules=$(echo "$rules" | sed "s/^user default .*/user default on #$hash ~* \&* +@all/")
fi
echo "$rules"
