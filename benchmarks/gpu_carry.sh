#!/usr/bin/env bash
# Real weights for a machine that takes 64 MiB at a time: cut here, carried part by part, joined and checked there.
#
#     benchmarks/gpu_carry.sh split FILE   writes benchmarks/carry/NAME.part-00, -01, ... and NAME.sha256, and prints them
#     benchmarks/gpu_carry.sh join         makes NAME of the parts that are there, when all of them are
#
# Take one part with each call to the machine, while it keeps what earlier calls brought, and NAME.sha256 with the last;
# `gpu.sh` joins them. PART is the size of a part in bytes (default 52 MiB, beside the sources).
set -eu
cd "$(dirname "$0")/.."
folder=benchmarks/carry
mkdir -p "$folder"
case ${1:-} in
    split)
        file=${2:?split needs a file}
        name=$(basename "$file")
        rm -f "$folder/$name".part-*
        split --bytes="${PART:-54525952}" --numeric-suffixes --suffix-length=2 "$file" "$folder/$name.part-"
        (cd "$(dirname "$file")" && sha256sum "$name") >"$folder/$name.sha256"
        ls -1 "$folder/$name".*
        ;;
    join)
        for sum in "$folder"/*.sha256; do
            [ -e "$sum" ] || exit 0
            name=$(basename "$sum" .sha256)
            if [ ! -e "$folder/$name" ]; then
                cat "$folder/$name".part-* >"$folder/.$name" || { echo "no part of $name is here" >&2; exit 1; }
                mv "$folder/.$name" "$folder/$name"
            fi
            if ! (cd "$folder" && sha256sum --check --status "$name.sha256"); then
                rm -f "$folder/$name"
                echo "$name is not whole: its parts are missing or damaged; bring them again" >&2
                exit 1
            fi
            rm -f "$folder/$name".part-*
            echo "$folder/$name is whole"
        done
        ;;
    *) echo "use split FILE or join" >&2; exit 2 ;;
esac
