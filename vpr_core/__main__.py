from vpr_core.cli import main

main()
