import sys

from services.budget.main import main

sys.exit(main())
