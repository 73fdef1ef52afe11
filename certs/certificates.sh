#!/bin/sh
# Inspects and changes the certificates of Pullgate in a cluster. Needs kubectl and openssl.
#
#   certificates.sh inspect                            what is in the Secret, and which webhook trusts it
#   certificates.sh renew [serving|authority]          have Pullgate renew it now (default: serving)
#   certificates.sh forget                             stop trusting all authorities except the one that signs
#   certificates.sh bring TLS_CRT TLS_KEY CA_CRT       serve your own certificate from now on
#
# KUBECTL (default: kubectl) may have arguments, such as "kubectl --context test"; NAMESPACE is Pullgate's (default: pullgate).
set -eu

: "${KUBECTL:=kubectl}" "${NAMESPACE:=pullgate}"
SECRET=pullgate-certificates
WEBHOOKS=mutatingwebhookconfiguration/pullgate

fail() {
  echo "certificates.sh: $*" >&2
  exit 1
}

usage() {
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# Only ca.crt and tls.crt are fetched from the Secret, so no key is written to a file.
fetch() {
  # shellcheck disable=SC2086 # arguments of KUBECTL
  $KUBECTL -n "$NAMESPACE" get secret "$SECRET" -o "jsonpath={.data.$(echo "$1" | sed 's/\./\\./')}" |
    openssl base64 -d -A >"$folder/$1"
}

# The certificates of a PEM file, one file each: name.1, name.2 and so on.
split() {
  awk -v name="$1" '/-----BEGIN CERTIFICATE-----/ { n++ } n { print > (name "." n) }' "$1"
}

# One line for a certificate.
describe() {
  openssl x509 -in "$1" -noout -subject -serial -startdate -enddate |
    sed 's/^[^=]*= *//' | paste -s -d '|' - |
    awk -F '|' '{ printf "%s, serial %s, valid from %s to %s\n", $1, $2, $3, $4 }'
}

# -untrusted: intermediate authorities follow the certificate in tls.crt.
verify() {
  openssl verify -purpose sslserver -CAfile "$1" -untrusted "$2" "$2" >/dev/null 2>&1
}

inspect() {
  fetch ca.crt
  fetch tls.crt
  [ -s "$folder/tls.crt" ] || fail "secret/$SECRET has no tls.crt (yet)"
  echo "Served:"
  echo "  $(describe "$folder/tls.crt")"
  echo "  for $(openssl x509 -in "$folder/tls.crt" -noout -ext subjectAltName | sed -n '2s/^ *//p')"

  echo "Authorities in the Secret:"
  split "$folder/ca.crt"
  for authority in "$folder"/ca.crt.*; do
    [ -e "$authority" ] || fail "ca.crt has no certificate"
    signed=
    if verify "$authority" "$folder/tls.crt"; then signed=" (signed the served certificate)"; fi
    echo "  $(describe "$authority")$signed"
  done

  echo "Webhooks:"
  # shellcheck disable=SC2086
  $KUBECTL get "$WEBHOOKS" -o \
    'jsonpath={range .webhooks[*]}{.name}{" "}{.clientConfig.caBundle}{"\n"}{end}' >"$folder/webhooks"
  [ -s "$folder/webhooks" ] || fail "$WEBHOOKS has no webhooks"
  untrusted=0
  while read -r name bundle; do
    rm -f "$folder"/bundle*
    printf %s "$bundle" | openssl base64 -d -A >"$folder/bundle"
    if verify "$folder/bundle" "$folder/tls.crt"; then
      echo "  $name trusts the served certificate, by:"
    else
      untrusted=1
      echo "  $name DOES NOT TRUST the served certificate, but:"
    fi
    split "$folder/bundle"
    for authority in "$folder"/bundle.*; do
      if [ -e "$authority" ]; then echo "    $(describe "$authority")"; else echo "    nothing"; fi
    done
  done <"$folder/webhooks"
  return $untrusted
}

renew() {
  case "$1" in serving | authority) ;; *) usage ;; esac
  # shellcheck disable=SC2086
  $KUBECTL -n "$NAMESPACE" annotate secret "$SECRET" --overwrite "pullgate.io/renew=$1"
  echo "Pullgate removes the annotation within seconds, with the renewal. A new authority signs a minute later: see inspect."
}

forget() {
  fetch ca.crt
  fetch tls.crt
  split "$folder/ca.crt"
  for authority in "$folder"/ca.crt.*; do
    if [ -e "$authority" ] && verify "$authority" "$folder/tls.crt"; then
      printf '{"data":{"ca.crt":"%s"}}' "$(openssl base64 -A -in "$authority")" >"$folder/patch"
      # shellcheck disable=SC2086
      $KUBECTL -n "$NAMESPACE" patch secret "$SECRET" --type merge -p "$(cat "$folder/patch")"
      return
    fi
  done
  fail "no authority in ca.crt signed tls.crt: nothing was changed"
}

bring() {
  verify "$3" "$1" || fail "$1 was not signed by an authority of $3 for a server, or is not valid now"
  openssl x509 -in "$1" -noout -checkhost "pullgate.$NAMESPACE.svc" | grep -q 'does match' ||
    fail "$1 is not for pullgate.$NAMESPACE.svc"
  openssl x509 -in "$1" -noout -pubkey >"$folder/public"
  openssl pkey -in "$2" -pubout 2>/dev/null | cmp -s - "$folder/public" || fail "$2 is not the key of $1"
  verb=create
  # shellcheck disable=SC2086
  if $KUBECTL -n "$NAMESPACE" get secret "$SECRET" >/dev/null 2>&1; then verb=replace; fi
  # shellcheck disable=SC2086
  $KUBECTL -n "$NAMESPACE" create secret generic "$SECRET" --dry-run=client -o yaml \
    --from-file=tls.crt="$1" --from-file=tls.key="$2" --from-file=ca.crt="$3" |
    $KUBECTL -n "$NAMESPACE" $verb -f -
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

case "${1-}:$#" in
  inspect:1) inspect ;;
  renew:1) renew serving ;;
  renew:2) renew "$2" ;;
  forget:1) forget ;;
  bring:4) bring "$2" "$3" "$4" ;;
  *) usage ;;
esac
