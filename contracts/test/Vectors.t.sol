// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IMeter} from "../src/interfaces/IMeter.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";
import {Access, Ledger, Members, Meter} from "./Deployment.sol";

/// The bytes that are signed, against the file that the Python tests read as well. Where a contract shows its digest it
/// is compared; where it does not, what was signed over the file's digest is accepted.
contract VectorsTest is Base {
    string internal json;

    function setUp() public override {
        vm.chainId(31337);
        super.setUp();
        json = vm.readFile("../tests/vectors/eip712.json");
        members = Members(vm.parseJsonAddress(json, ".contracts.Members"));
        ledger = Ledger(vm.parseJsonAddress(json, ".contracts.Ledger"));
        access = Access(vm.parseJsonAddress(json, ".contracts.Access"));
        meter = Meter(vm.parseJsonAddress(json, ".contracts.Meter"));
        (system.members, system.access, system.meter) = (address(members), address(access), address(meter));
        // The ledger begins only where no code is yet: made elsewhere, and taken to its place with all that it has stored.
        system.ledger = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        deployCode("Ledger.sol:Ledger", ledgerArguments());
        vm.etch(address(ledger), system.ledger.code);
        vm.copyStorage(system.ledger, address(ledger));
        system.ledger = address(ledger);
        deployCodeTo("Members.sol:Members", membersArguments(), address(members));
        deployCodeTo("Access.sol:Access", accessArguments(), address(access));
        deployCodeTo("Meter.sol:Meter", abi.encode(system), address(meter));
    }

    function testTypesAndOrder() public view {
        string[16] memory types = [
            "Admission",
            "Admission",
            "Renewal",
            "Attachment",
            "Finding",
            "Appraisal",
            "Appraisal",
            "Redemption",
            "Receipt",
            "Receipt",
            "Segment",
            "Detachment",
            "Recovery",
            "Split",
            "TopUp",
            "Rotation"
        ];
        for (uint256 i; i < types.length; ++i) {
            assertEq(vm.parseJsonString(json, _entry(i, ".type")), types[i]);
        }
        assertFalse(vm.keyExistsJson(json, _entry(types.length, "")), "an entry that nobody tests");
        assertEq(_uint(".chainId"), block.chainid);
    }

    function testMembers() public {
        members.admit(_admission(0), _attested(0));
        // The second reaches further than any membership may: its bytes are compared, and the account admitted for less.
        assertEq(typed(membersDomain(), hashOf(_admission(1))), _digest(1));
        admit(_admission(1).member);
        IMembers.Renewal memory r =
            IMembers.Renewal(_address(_value(2, "member")), _uint48(2, "until"), _uint48(2, "deadline"));
        members.renew(r, _attested(2));

        IMembers.Finding memory f = IMembers.Finding(
            _address(_value(4, "member")),
            _address(_value(4, "controller")),
            _bytes32(_value(4, "evidence")),
            _uint48(4, "deadline")
        );
        uint256 snapshot = vm.snapshotState();
        members.find(f, _attested(4));
        vm.revertToState(snapshot);
        IMembers.Attachment memory a = IMembers.Attachment(
            _address(_value(3, "member")),
            _address(_value(3, "controller")),
            _uint(_value(3, "nonce")),
            _uint48(3, "deadline")
        );
        members.attach(a, sign(1, _digest(3)), sign(2, _digest(3)));
        IMembers.Detachment memory d = IMembers.Detachment(
            _address(_value(11, "member")),
            _bytes32(_value(11, "evidence")),
            _uint(_value(11, "nonce")),
            _uint48(11, "deadline")
        );
        members.detach(d, _attested(11));
        IMembers.Recovery memory lost = IMembers.Recovery(
            _address(_value(12, "member")),
            _address(_value(12, "successor")),
            _bytes32(_value(12, "evidence")),
            _uint(_value(12, "nonce")),
            _uint48(12, "deadline")
        );
        members.recover(lost, _attested(12));
    }

    function testLedger() public {
        for (uint256 i = 5; i < 7; ++i) {
            ILedger.Appraisal memory a = _appraisal(i);
            Signature[] memory quorum = sign(_first(appraiserKeys, THRESHOLD), _digest(i));
            vm.prank(a.registrant);
            uint256 asset = ledger.register(a, quorum, noShares(), COMMONS_PRICE, "");

            assertEq(asset, uint256(_digest(i)) % (1 << 192));
        }
        // The redemption's credits are of the first asset.
        assertEq(_uint(_value(7, "id")) >> 64, uint256(_digest(5)) % (1 << 192));
    }

    function testAccess() public view {
        IAccess.Redemption memory r;
        r.holder = _address(_value(7, "holder"));
        r.id = _uint(_value(7, "id"));
        r.amount = _uint64(7, "amount");
        r.keyX = _bytes32(_value(7, "keyX"));
        r.keyY = _bytes32(_value(7, "keyY"));
        r.nonce = _uint(_value(7, "nonce"));
        r.deadline = _uint48(7, "deadline");

        assertEq(access.leaseId(r), _digest(7));
    }

    /// The leases of these are on no chain; what `topUp` and `rotate` accept is what `hashOf` says (TopUp.t, Rotate.t).
    function testChangesOfALease() public view {
        IAccess.Split memory s;
        s.lease = _bytes32(_value(13, "lease"));
        s.amount = _uint64(13, "amount");
        (s.keyX, s.keyY) = (_bytes32(_value(13, "keyX")), _bytes32(_value(13, "keyY")));
        s.change = SafeCast.toUint16(_uint(_value(13, "change")));
        s.deadline = _uint48(13, "deadline");
        assertEq(access.partId(s), _digest(13));

        IAccess.TopUp memory t;
        t.lease = _bytes32(_value(14, "lease"));
        t.amount = _uint64(14, "amount");
        t.change = SafeCast.toUint16(_uint(_value(14, "change")));
        t.deadline = _uint48(14, "deadline");
        assertEq(typed(accessDomain(), hashOf(t)), _digest(14));

        IAccess.Rotation memory r;
        r.lease = _bytes32(_value(15, "lease"));
        (r.keyX, r.keyY) = (_bytes32(_value(15, "keyX")), _bytes32(_value(15, "keyY")));
        r.change = SafeCast.toUint16(_uint(_value(15, "change")));
        r.deadline = _uint48(15, "deadline");
        assertEq(typed(accessDomain(), hashOf(r)), _digest(15));
    }

    function testMeter() public view {
        for (uint256 i = 8; i < 10; ++i) {
            IMeter.Receipt memory r;
            r.lease = _bytes32(_value(i, "lease"));
            r.gpuMs = _uint64(i, "gpuMs");
            r.head = _bytes32(_value(i, "head"));

            assertEq(typed(meterDomain(), hashOf(r)), _digest(i));
            assertEq(meter.receiptDigest(r), _bytes32(_entry(i, ".es256Digest")));
        }
    }

    /// No contract reads segments: they are the records behind an anchor.
    function testSegment() public view {
        bytes32 t = keccak256(
            "Segment(uint256 asset,uint64 boot,uint64 sequence,bytes32 lease,bytes32 previous,bytes32 head,uint64 startedAtMs,uint64 endedAtMs,uint64 gpuMs,uint32 readings)"
        );
        string[10] memory fields =
            ["asset", "boot", "sequence", "lease", "previous", "head", "startedAtMs", "endedAtMs", "gpuMs", "readings"];
        bytes memory words = abi.encode(t);
        for (uint256 i; i < fields.length; ++i) {
            bool isHash = i > 2 && i < 6;
            string memory key = _value(10, fields[i]);
            words = bytes.concat(words, isHash ? _bytes32(key) : bytes32(_uint(key)));
        }

        assertEq(typed(meterDomain(), keccak256(words)), _digest(10));
        bytes32 es256 = sha256(abi.encodePacked(hex"1901", meterDomain(), keccak256(words)));
        assertEq(es256, _bytes32(_entry(10, ".es256Digest")));
    }

    function _attested(uint256 i) private view returns (Signature[] memory) {
        return sign(_first(attesterKeys, THRESHOLD), _digest(i));
    }

    function _admission(uint256 i) private view returns (IMembers.Admission memory a) {
        a.member = _address(_value(i, "member"));
        a.nullifier = _bytes32(_value(i, "nullifier"));
        a.until = _uint48(i, "until");
        a.deadline = _uint48(i, "deadline");
    }

    function _appraisal(uint256 i) private view returns (ILedger.Appraisal memory a) {
        a.classId = _bytes32(_value(i, "classId"));
        a.registrant = _address(_value(i, "registrant"));
        a.contentHash = _bytes32(_value(i, "contentHash"));
        a.resultHash = _bytes32(_value(i, "resultHash"));
        a.policy = vm.parseJsonString(json, _value(i, "policy"));
        a.units = _uint64(i, "units");
        a.level = SafeCast.toUint8(_uint(_value(i, "level")));
        a.devices = vm.parseJsonBytes32Array(json, _value(i, "devices"));
        a.meterKeyX = _bytes32(_value(i, "meterKeyX"));
        a.meterKeyY = _bytes32(_value(i, "meterKeyY"));
        a.expiresAt = _uint48(i, "expiresAt");
        a.deadline = _uint48(i, "deadline");
    }

    function _entry(uint256 i, string memory key) private pure returns (string memory) {
        return string.concat(".vectors[", vm.toString(i), "]", key);
    }

    function _value(uint256 i, string memory field) private pure returns (string memory) {
        return _entry(i, string.concat(".value.", field));
    }

    function _digest(uint256 i) private view returns (bytes32) {
        return _bytes32(_entry(i, ".digest"));
    }

    function _bytes32(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, key);
    }

    function _address(string memory key) private view returns (address) {
        return vm.parseJsonAddress(json, key);
    }

    function _uint(string memory key) private view returns (uint256) {
        return vm.parseJsonUint(json, key);
    }

    function _uint64(uint256 i, string memory field) private view returns (uint64) {
        return SafeCast.toUint64(_uint(_value(i, field)));
    }

    function _uint48(uint256 i, string memory field) private view returns (uint48) {
        return SafeCast.toUint48(_uint(_value(i, field)));
    }
}
