#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-deploy.sh PROJECT ENVIRONMENT DEPLOYMENT FOLDER: serves FOLDER as this deployment, on a port of its own beside the
# deployment that serves now, and switches the front to it once it is healthy. If it never is, the one before serves on.
# Safe to repeat, at whatever line it ended: the same deployment gets the same port, and every file is replaced whole.
# doc/blue-green.md tells the story.
#
# From the environment: CONFIGS, the folder of which nginx includes *.conf (/etc/nginx/conf.d); NGINX_COMMAND, how nginx is
# called (nginx); FRONT, the port that everybody knows (8080); HEALTH, what is asked (/); SECONDS_TO_START (30) for the new
# deployment to answer; SECONDS_TO_DRAIN (5) for requests that began before the switch.
set -euo pipefail

say()
{
    printf 'nginx-deploy: %s\n' "$*" >&2
}

# They become names of files and words of nginx's configuration.
check_word()
{
    [[ $2 =~ ^[A-Za-z0-9_][$3]*$ ]] && return
    say "$1 '$2': letters, digits, '_' and '-' are allowed"
    exit 2
}

if [[ $# -ne 4 || ! -d $4 ]]; then
    say "usage: nginx-deploy.sh PROJECT ENVIRONMENT DEPLOYMENT FOLDER"
    exit 2
fi
check_word project "$1" 'A-Za-z0-9_-'
check_word environment "$2" 'A-Za-z0-9_-'
check_word deployment "$3" 'A-Za-z0-9_.-'
deployment=$3 folder=$(cd -- "$4" && pwd) name=$1.$2
case $folder in
    *'"'* | *'$'* | *\\*)
        say "$folder: a quotation mark, a dollar sign or a backslash in it would be nginx's own"
        exit 2
        ;;
esac
configs=${CONFIGS:-/etc/nginx/conf.d} front=${FRONT:-8080} health=${HEALTH:-/}
read -ra nginx <<<"${NGINX_COMMAND:-nginx}"
block=$configs/$name.deployment.$deployment.conf live=$configs/$name.live.conf

# replace FILE: by standard input, whole or not at all
replace()
{
    cat >"$1.new"
    mv "$1.new" "$1"
}

# Lets nginx read its configuration, or starts it. Descriptor 9 is the lock, which nginx must not inherit.
reload()
{
    "${nginx[@]}" -t -q && { "${nginx[@]}" -s reload 2>/dev/null || "${nginx[@]}" 9>&-; }
}

# answers PORT: does this deployment, and no other, answer there?
answers()
{
    curl --silent --fail --noproxy '*' --max-time 5 --dump-header - --output /dev/null "http://127.0.0.1:$1$health" |
        grep --ignore-case --line-regexp --fixed-strings "X-Deployment: $deployment"$'\r' >/dev/null
}

# nginx takes a new configuration over in its own time.
answers_soon()
{
    local end=$((SECONDS + ${SECONDS_TO_START:-30}))
    until answers "$1"; do
        [[ $SECONDS -lt $end ]] || return 1
        sleep 0.1
    done
}

is_live()
{
    grep --quiet --fixed-strings "server 127.0.0.1:$port;" "$live" 2>/dev/null
}

# The deployment that serves must not lose its block because a repetition of it failed.
drop_block()
{
    is_live && return
    rm -f "$block"
    reload
}

# switch_back CONFIGURATION: as the front was before; empty: there was none
switch_back()
{
    if [[ -n $1 ]]; then
        replace "$live" <<<"$1"
    else
        rm -f "$live"
    fi
    drop_block
}

# ---- One deployment of this project and environment at a time ----

exec 9>"$configs/$name.lock"
flock 9

# ---- A port: the same one when this deployment is repeated; those of older deployments are given back ----

port=$(nextport next --format plain --project "$1" --environment "$2" --fresh --deployment "$deployment" --keep 2)

# ---- Green beside blue ----

replace "$block" <<EOF
server {
    listen 127.0.0.1:$port;
    root "$folder";
    add_header X-Deployment $deployment always;
}
EOF
if ! reload || ! answers_soon "$port"; then
    say "$deployment does not answer on port $port: what served before serves on"
    drop_block
    exit 1
fi

# ---- The switch ----

before=$(cat "$live" 2>/dev/null || true)
replace "$live" <<EOF
upstream $name {
    server 127.0.0.1:$port;
}
server {
    listen $front;
    location / {
        proxy_pass http://$name;
    }
}
EOF
if ! reload || ! answers_soon "$front"; then
    say "port $front does not show $deployment: switched back"
    switch_back "$before"
    exit 1
fi

# ---- Blue goes; its lease stays until --keep gives it back, so that going back finds its port ----

sleep "${SECONDS_TO_DRAIN:-5}"
for other in "$configs/$name".deployment.*.conf; do
    [[ $other == "$block" ]] || rm -f "$other"
done
reload
say "$deployment serves on port $port"
